"""The order of an epoch's batches, for loaders that cannot report their position.

A plain `DataLoader` has no state. However, its order was drawn from the random generators when the epoch began. Once
their states are restored, the batches already trained on can be drawn again and skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities.types import _Stateful
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.combined_loader import _shutdown_workers_and_reset_iterator

from ..errors import ResumeError
from ..torch.rng import RandomState, random_state, set_random_state
from . import loops
from .ignored_warning import IgnoredWarning
from .loaded_again import loaded_again


class DataOrder:
    """The random state that the order of the running epoch was drawn from.

    Attributes:
        before_hooks: The random state before the hooks that begin the running epoch.
    """

    def __init__(self) -> None:
        self._before_fit: RandomState | None = None
        self._state: dict[str, Any] = {}
        self._not_resumable = IgnoredWarning("You're resuming from a checkpoint that ended before the epoch ended")
        self.before_hooks: RandomState | None = None

    def begin_fit(self) -> None:
        """Store the random state. Call it before the first epoch's iterators are created."""
        self._before_fit = random_state()

    def end_fit(self) -> None:
        """Let Lightning warn again."""
        self._not_resumable.end()

    def end_epoch(self) -> None:
        """Keep the random state. Call it after all hooks of an epoch, and when training begins."""
        self.before_hooks = random_state(self._before_fit, self.before_hooks)

    def begin_epoch(self, trainer: Trainer) -> None:
        """Keep the random state. Call it after the hooks that begin an epoch, before its first batch is drawn."""
        # Lightning creates the first epoch's iterators when `fit` begins, and those of later epochs after this hook.
        self._state = {
            "before_fit": None if trainer.current_epoch else self._before_fit,
            "random": random_state(self._before_fit, self.before_hooks),
            "generators": generator_states(trainer),
        }
        self._before_fit = None

    def state(self) -> dict[str, Any]:
        """Return what `skip` needs, in types that `torch.load(weights_only=True)` reads back."""
        return self._state

    def random_state(self) -> RandomState:
        """Return the random state now. It shares with the others what has not changed."""
        return random_state(self._state.get("random"), self.before_hooks)

    def resume(self, state: dict[str, Any]) -> None:
        """Continue an epoch.

        Args:
            state: What `state` returned in the interrupted training run.
        """
        self._before_fit, self._state = None, state

    def skip(self, trainer: Trainer, state: dict[str, Any], batches: int) -> None:
        """Restart the epoch's data, and skip its first batches.

        Args:
            trainer: The trainer.
            state: What `state` returned in the interrupted training run.
            batches: Number of batches to skip.

        Raises:
            ResumeError: There are fewer batches.
        """
        self.resume(state)
        self._not_resumable.begin()
        fetcher = trainer.fit_loop._data_fetcher
        loops.set_sampler_epoch(trainer)
        if state["before_fit"] is not None:
            # Persistent workers already exist. They are shut down, so that the next ones count as the first ones again.
            for loader in loops.loaders(trainer):
                _shutdown_workers_and_reset_iterator(loader)
            set_random_state(state["before_fit"])
            iter(fetcher)
        set_random_state(state["random"])
        set_generator_states(trainer, state["generators"])
        if state["before_fit"] is None:
            iter(fetcher)
        try:
            for _ in loaded_again(batches):
                next(fetcher)
        except StopIteration:
            raise ResumeError(
                f"the checkpoint was taken after {batches} batches of an epoch, but the data has fewer now; expected "
                "the data that it was trained on, or a checkpoint from an epoch's end"
            ) from None
        fetcher.fetched -= batches  # the loop itself counts the batches that it knows of


def is_plain(trainer: Trainer) -> bool:
    """Return whether none of the loaders can report its position."""
    return not any(isinstance(loader, _Stateful) for loader in loops.loaders(trainer))


def generator_states(trainer: Trainer) -> list[Any]:
    """Return the states of the generators that were passed to loaders and samplers."""
    return [generator.get_state() for generator in _generators(trainer)]


def set_generator_states(trainer: Trainer, states: list[Any]) -> None:
    """Restore what `generator_states` found."""
    for generator, state in zip(_generators(trainer), states, strict=False):
        generator.set_state(state)


def generators_of(loader: Any) -> Iterator[Any]:
    """Yield the generators that were passed to one loader and its samplers."""
    for owner in (loader, *samplers_of(loader)):
        if (generator := getattr(owner, "generator", None)) is not None:
            yield generator


def samplers_of(loader: Any) -> Iterator[Any]:
    """Yield a loader's samplers, and the samplers inside them."""
    waiting, seen = [loader], set()
    while waiting:
        owner = waiting.pop(0)
        for name in ("sampler", "batch_sampler"):
            sampler = getattr(owner, name, None)
            if sampler is not None and id(sampler) not in seen:
                seen.add(id(sampler))
                waiting.append(sampler)
                yield sampler


def prefetched(trainer: Trainer) -> list[Any]:
    """Return the batches that were taken from stateful loaders and are not trained yet.

    If the data has no length, Lightning fetches one batch in advance, so the loaders are one batch ahead.
    """
    batches = _fetched(trainer)
    return [] if is_plain(trainer) or not _is_loadable(batches) else batches


def push_prefetched(trainer: Trainer, batches: list[Any]) -> None:
    """Put the batches that `prefetched` found in front of those to come."""
    if batches:
        trainer.fit_loop._data_fetcher.batches[:0] = batches


def can_save_prefetched(trainer: Trainer) -> bool:
    """Return whether a checkpoint may hold the prefetched batches."""
    return _is_loadable(_fetched(trainer))


def _fetched(trainer: Trainer) -> list[Any]:
    return list(getattr(trainer.fit_loop._data_fetcher, "batches", ()))


def _is_loadable(value: Any) -> bool:
    """Return whether `torch.load(weights_only=True)` can read a value back."""
    if isinstance(value, dict):
        return _is_loadable(list(value.items()))
    if type(value) in (list, tuple):
        return all(map(_is_loadable, value))
    return value is None or type(value) in (torch.Tensor, bool, int, float, str, bytes)


def _generators(trainer: Trainer) -> list[Any]:
    found = [generator for loader in loops.loaders(trainer) for generator in generators_of(loader)]
    return list({id(generator): generator for generator in found}.values())
