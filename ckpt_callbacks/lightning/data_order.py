"""The order in which an epoch's batches come, for loaders that cannot say where they are.

A plain `DataLoader` has no state. But its order was drawn from the random generators when the epoch began; with these
put back, the batches that were trained already can be drawn once more and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities.types import _Stateful
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.combined_loader import _shutdown_workers_and_reset_iterator
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from ..errors import ResumeError
from ..torch.rng import RandomState, random_state, set_random_state
from . import loops

# Lightning wraps those of users in samplers of its own, which have no state either.
_STATELESS = (
    BatchSampler, DistributedSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler,
)  # fmt: skip


class DataOrder:
    """Remembers what the order of the running epoch was drawn from."""

    def __init__(self) -> None:
        self._before_fit: RandomState | None = None
        self._state: dict[str, Any] = {}

    def begin_fit(self) -> None:
        """To be called before the first epoch's iterators are made."""
        self._before_fit = random_state()

    def begin_epoch(self, trainer: Trainer) -> None:
        """To be called before an epoch's first batch is drawn."""
        # Lightning makes the very first epoch's iterators when `fit` begins, and those of the others behind this hook.
        self._state = {
            "before_fit": None if trainer.current_epoch else self._before_fit,
            "random": random_state(),
            "generators": generator_states(trainer),
        }
        self._before_fit = None

    def state(self) -> dict[str, Any]:
        """What `skip` needs, in types that `torch.load(weights_only=True)` reads back."""
        return self._state

    def skip(self, trainer: Trainer, state: dict[str, Any], batches: int) -> None:
        """Begin the epoch's data again, and leave out its first batches.

        Raises:
            ResumeError: there are fewer than that.
        """
        self._before_fit, self._state = None, state
        fetcher = trainer.fit_loop._data_fetcher
        loops.set_sampler_epoch(trainer)
        if state["before_fit"] is not None:
            for loader in _loaders(
                trainer
            ):  # workers that live on were made by now; they count as the first ones again
                _shutdown_workers_and_reset_iterator(loader)
            set_random_state(state["before_fit"])
            iter(fetcher)
        set_random_state(state["random"])
        set_generator_states(trainer, state["generators"])
        if state["before_fit"] is None:
            iter(fetcher)
        try:
            for _ in range(batches):
                next(fetcher)
        except StopIteration:
            raise ResumeError(
                f"the checkpoint was taken after {batches} batches of an epoch, and the data has fewer now; expected "
                "the data that it was trained on, or a checkpoint from an epoch's end"
            ) from None
        fetcher.fetched -= batches  # the loop counts those that it knows of by itself


def is_plain(trainer: Trainer) -> bool:
    """None of the loaders can say where it is."""
    return not any(isinstance(loader, _Stateful) for loader in _loaders(trainer))


def generator_states(trainer: Trainer) -> list[Any]:
    """The states of generators that loaders and samplers were given."""
    return [generator.get_state() for generator in _generators(trainer)]


def set_generator_states(trainer: Trainer, states: list[Any]) -> None:
    """Put back what `generator_states` found."""
    for generator, state in zip(_generators(trainer), states, strict=False):
        generator.set_state(state)


def fetched_ahead(trainer: Trainer) -> list[Any]:
    """Batches that were taken from loaders which can say where they are, and not trained yet.

    Lightning looks one batch ahead where the data has no length, so that the loaders are one batch further.
    """
    batches = _looked_at(trainer)
    return [] if is_plain(trainer) or not _is_loadable(batches) else batches


def put_ahead(trainer: Trainer, batches: list[Any]) -> None:
    """Let the batches that `fetched_ahead` found come first."""
    if batches:
        trainer.fit_loop._data_fetcher.batches[:0] = batches


def inexact_always(trainer: Trainer) -> str | None:
    """Why a run that is resumed, wherever that is, may see other data than an uninterrupted one; else None."""
    if trainer.reload_dataloaders_every_n_epochs:
        return "reload_dataloaders_every_n_epochs makes new loaders, which a resume makes at other moments"
    if any(getattr(loader, "persistent_workers", False) for loader in _loaders(trainer)):
        return "persistent_workers live on from epoch to epoch, and what they have drawn cannot be brought back"
    return None


def inexact(trainer: Trainer) -> str | None:
    """Why a run that is resumed in mid-epoch may see other data than an uninterrupted one; None when it does not."""
    loaders = _loaders(trainer)
    stateful = [isinstance(loader, _Stateful) for loader in loaders]
    if len(loaders) > 1 and trainer.fit_loop._combined_loader._mode.startswith("max_size"):
        return "several loaders are combined, of which the short ones end or begin again earlier than the epoch"
    if all(stateful):
        if _is_loadable(_looked_at(trainer)):
            return None
        return "the data has no length, and its batches are objects that no checkpoint may hold; expected tensors"
    if any(stateful):
        return "only some of the loaders can say where they are; expected a StatefulDataLoader for each"
    for loader in loaders:
        if not isinstance(loader, DataLoader):
            return f"{type(loader).__name__} cannot say where it is; expected a DataLoader or a StatefulDataLoader"
        if isinstance(loader.dataset, IterableDataset):
            name = type(loader.dataset).__name__
            return f"{name} is iterated over; expected one with a state_dict, in a StatefulDataLoader"
        for sampler in (loader.sampler, loader.batch_sampler):
            if not isinstance(sampler, (*_STATELESS, type(None))) and type(sampler).__module__.split(".")[0] not in (
                "lightning", "torch",
            ):  # fmt: skip
                return f"{type(sampler).__name__} may have a state of its own; expected a StatefulDataLoader"
        if loader.num_workers and next(_generators_of(loader), None) is not None:
            return "a loader with workers has a generator of its own; expected a StatefulDataLoader"
    return None


def _looked_at(trainer: Trainer) -> list[Any]:
    return list(getattr(trainer.fit_loop._data_fetcher, "batches", ()))


def _is_loadable(value: Any) -> bool:
    """`torch.load(weights_only=True)` reads it back."""
    if isinstance(value, dict):
        return _is_loadable(list(value.items()))
    if type(value) in (list, tuple):
        return all(map(_is_loadable, value))
    return value is None or type(value) in (torch.Tensor, bool, int, float, str, bytes)


def _loaders(trainer: Trainer) -> list[Any]:
    combined = trainer.fit_loop._combined_loader
    return [] if combined is None else list(combined.flattened)


def _generators_of(loader: Any) -> Iterator[Any]:
    for owner in (loader, getattr(loader, "sampler", None)):
        if (generator := getattr(owner, "generator", None)) is not None:
            yield generator


def _generators(trainer: Trainer) -> list[Any]:
    found = [generator for loader in _loaders(trainer) for generator in _generators_of(loader)]
    return list({id(generator): generator for generator in found}.values())
