"""Reasons why a resumed run may not have the same batches or metrics as an uninterrupted one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from lightning.fabric.utilities.types import _Stateful
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelPruning
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

from ..errors import listed
from . import loops
from .data_order import can_save_prefetched, generators_of, samplers_of
from .embedded import Place
from .manual_gradients import ManualGradients
from .metric_states import unsaved_metrics
from .progress import Progress
from .step_count import StepCount
from .unsaved_attributes import UnsavedAttributes, saves_more

log = logging.getLogger("ckpt_callbacks")

# Lightning wraps the users' samplers in its own, which have no state either.
_STATELESS = (
    BatchSampler, DistributedSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler,
)  # fmt: skip


class Inexactness:
    """Reports why a resumed run may differ: each reason once, at the first save that it affects.

    Attributes:
        gradients: The gradients of manual optimization.
    """

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._attributes = UnsavedAttributes()
        self.gradients = ManualGradients()

    def begin(self, trainer: Trainer) -> None:
        """Note the module's attributes after the first batch, so that later saves can compare them."""
        self._attributes.begin(trainer)

    def report(self, trainer: Trainer, progress: Progress) -> None:
        """Log the reasons that apply to the checkpoint that is saved now.

        Args:
            trainer: The trainer.
            progress: The place of the fit, and its count of steps.
        """
        mid_epoch = progress.place is not Place.EPOCH_END
        self._say(
            "resuming from these checkpoints may not replay the same batches", what_is_inexact(trainer, mid_epoch)
        )
        if mid_epoch and (names := unsaved_metrics(trainer)):
            self._say(
                "a run that resumes from these checkpoints has the same weights, but other metrics in its first epoch",
                f"{', '.join(names)} will leave out its first batches (a torchmetrics object whose state is not saved)",
            )
        for why in self._of_the_module(trainer, progress.steps):
            self._say("a run that resumes from these checkpoints may differ", why)

    def _say(self, what: str, why: str | None) -> None:
        if why is not None and why not in self._reported:
            self._reported.add(why)
            log.warning("%s: %s", what, why)

    def _of_the_module(self, trainer: Trainer, steps: StepCount) -> Iterator[str]:
        if any(isinstance(callback, ModelPruning) for callback in trainer.callbacks):
            yield "ModelPruning saves no masks; a resumed run prunes again what has grown back"
        if not steps.is_of_batches and self.gradients.are_pending(trainer):
            yield (
                "the module has accumulated gradients by hand, which no checkpoint holds; expected saves right after "
                "an optimizer step, such as Every(steps=n)"
            )
        if saves_more(trainer):
            return
        if own := self._once("optimizers", steps.unsaved(trainer)):
            yield (
                f"no checkpoint holds the state of {listed(own)}, which is not one of self.optimizers(); return the "
                "optimizer in configure_optimizers(), or save its state in on_save_checkpoint(checkpoint)"
            )
        if names := self._once("optimizer", self._attributes.changed_in_optimizers(trainer)):
            yield (
                f"attributes of an optimizer change in training and are not in its state_dict() ({listed(names)}); if "
                "the training depends on them, keep them in its param_groups, or add them in its state_dict()"
            )
        if names := self._once("attributes", self._attributes.changed(trainer)):
            yield (
                f"attributes of the module change in training and are not in its state dict ({listed(names)}); if the "
                "training depends on them, make them buffers, or save them in on_save_checkpoint(checkpoint)"
            )

    def _once(self, kind: str, names: list[str]) -> list[str]:
        """Return the names at the first save at which there are any, and none later."""
        if not names or kind in self._reported:
            return []
        self._reported.add(kind)
        return names


def what_is_inexact(trainer: Trainer, mid_epoch: bool) -> str | None:
    """Return why a run that resumes from a checkpoint taken now may differ; None if no reason is known.

    Args:
        trainer: The trainer.
        mid_epoch: True if the checkpoint is taken before the end of its epoch.
    """
    if (why := _inexact_anywhere(trainer)) is not None or not mid_epoch:
        return why
    if loops.accumulating(trainer):
        return "no checkpoint holds the accumulated gradients; expected a save at an optimizer step"
    return _inexact_in_mid_epoch(trainer)


def _inexact_anywhere(trainer: Trainer) -> str | None:
    if trainer.reload_dataloaders_every_n_epochs:
        return "reload_dataloaders_every_n_epochs makes new loaders, and a resume makes them at other times"
    if any(getattr(loader, "persistent_workers", False) for loader in loops.loaders(trainer)):
        return "persistent_workers keep running between epochs, and their random states cannot be restored"
    return None


def _inexact_in_mid_epoch(trainer: Trainer) -> str | None:
    loaders = loops.loaders(trainer)
    stateful = [isinstance(loader, _Stateful) for loader in loaders]
    if len(loaders) > 1 and trainer.fit_loop._combined_loader._mode.startswith("max_size"):
        return "several loaders are combined, and the short ones end or restart before the epoch ends"
    if all(stateful):
        if can_save_prefetched(trainer):
            return None
        return "the data has no length, and its batches are objects that a checkpoint cannot hold; expected tensors"
    if any(stateful):
        return "only some of the loaders can report their position; expected a StatefulDataLoader for each"
    return next((why for loader in loaders if (why := _inexact_loader(loader)) is not None), None)


def _inexact_loader(loader: Any) -> str | None:
    if not isinstance(loader, DataLoader):
        return f"{type(loader).__name__} cannot report its position; expected a DataLoader or a StatefulDataLoader"
    if isinstance(loader.dataset, IterableDataset):
        name = type(loader.dataset).__name__
        return f"{name} is an IterableDataset; expected one with a state_dict, in a StatefulDataLoader"
    for sampler in samplers_of(loader):
        if not isinstance(sampler, _STATELESS) and type(sampler).__module__.split(".")[0] not in ("lightning", "torch"):
            return f"{type(sampler).__name__} may have its own state; expected a StatefulDataLoader"
    if loader.num_workers and next(generators_of(loader), None) is not None:
        return "a loader with workers has its own generator; expected a StatefulDataLoader"
    return None
