"""The facts about an epoch's data that determine which samples a number of batches covers."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning.fabric.utilities.types import _Stateful
from lightning.pytorch import Trainer
from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset

from . import loops
from .data_order import samplers_of

log = logging.getLogger("ckpt_callbacks")


@dataclass(frozen=True)
class LoaderData:
    """The data that one loader yields in an epoch. Facts that it does not report are None.

    Attributes:
        samples: Number of samples in a batch, of all processes that share the order.
        rows: Number of samples in the data set.
        batches: Number of batches, if the number of samples in them is unknown.
        order: The classes of the samplers, which determine the order of the samples.
    """

    samples: int | None
    rows: int | None
    batches: int | None
    order: list[str]

    @classmethod
    def of(cls, loader: Any) -> LoaderData:
        """Return what a loader yields."""
        # A loader with a batch sampler of its own never uses its sampler.
        used = getattr(loader, "batch_sampler", None)
        samplers = list(samplers_of(loader)) if used is None else [used, *samplers_of(used)]
        sizes = [getattr(owner, "batch_size", None) for owner in (loader, *samplers)]
        size = next((size for size in sizes if isinstance(size, int)), None)
        sharing = next((one.num_replicas for one in samplers if isinstance(one, DistributedSampler)), 1)
        return cls(
            None if size is None else size * sharing,
            _length(getattr(loader, "dataset", None)),
            _length(loader) if size is None else None,
            [type(one).__name__ for one in samplers if type(one) is not BatchSampler],
        )

    def batches_for(self, saved: LoaderData, batches: int) -> int:
        """Return how many batches hold the samples of a number of earlier ``batches``; 0 if the order differs."""
        if self.samples is None or saved.samples is None or (saved.rows, saved.order) != (self.rows, self.order):
            return 0
        return batches * saved.samples // self.samples

    def change_since(self, saved: LoaderData) -> str | None:
        """Return how this data differs from the data at the save; None if it does not."""
        if saved.rows != self.rows:
            return f"the data has {self.rows} samples now, and had {saved.rows}"
        if saved.order != self.order:
            return f"the order comes from {_list(self.order)} now, and came from {_list(saved.order)}"
        if saved.samples != self.samples:
            return f"a batch has {self.samples} samples now, and had {saved.samples}"
        if saved.batches != self.batches:
            return f"an epoch has {self.batches} batches now, and had {saved.batches}"
        return None


def epoch_data(trainer: Trainer) -> list[dict[str, Any]]:
    """Return what the training loaders yield, in the form that a checkpoint holds."""
    return [asdict(LoaderData.of(loader)) for loader in loops.loaders(trainer)]


def batches_in_changed_data(
    trainer: Trainer, saved: Sequence[Mapping[str, Any]], batches: int, processes: int
) -> int | None:
    """Return after how many batches an epoch continues if its data has changed, and log it; None if it has not changed.

    If only the batch size has changed, or the number of processes that share an order, the trained samples are skipped,
    rounded down to whole batches. Otherwise, nothing shows which samples were trained on, so the epoch begins again.

    Args:
        trainer: The trainer.
        saved: What `epoch_data` returned at the save.
        batches: The number of batches already trained on.
        processes: The number of processes that trained on them.
    """
    loaders = loops.loaders(trainer)
    before, now = [LoaderData(**data) for data in saved], [LoaderData.of(loader) for loader in loaders]
    if len(before) != len(now):
        why: str | None = f"there are {len(now)} loaders now, and there were {len(before)}"
    else:
        why = next((why for old, new in zip(before, now, strict=True) if (why := new.change_since(old))), None)
    as_many = processes == trainer.world_size
    if why is None and as_many:
        return None
    if not as_many:
        verb = "is" if trainer.world_size == 1 else "are"
        why = f"it was trained by {_processes(processes)}, and {_processes(trainer.world_size)} {verb} training now"
    done = 0
    if len(before) == len(now) == 1 and _counts_samples(loaders[0]) and (as_many or _is_shared(loaders[0])):
        done = int(min(now[0].batches_for(before[0], batches), max(0, trainer.num_training_batches - 1)))
    if done:
        where = f"the epoch continues after {done} such batches"
    else:
        keep = "the number of processes" if not as_many else "data, batch size and sampler"
        where = f"that epoch begins again; to continue midway, keep {keep} until the epoch's end"
    if trainer.is_global_zero:
        log.warning("the checkpoint was taken after %d batches of an epoch, but %s: %s", batches, why, where)
    return done


def explain_unloadable_state(error: BaseException) -> None:
    """Log what to do if torchdata could not load the state of a loader, because torchdata's error does not say it."""
    where = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    if where and where[-1].startswith("torchdata."):
        log.warning(
            "a StatefulDataLoader cannot load its state from the checkpoint; expected the loader that was used when "
            "the checkpoint was taken, with the same num_workers"
        )


def _counts_samples(loader: Any) -> bool:
    """Return whether the first samples can be skipped, no matter how large the batches are."""
    if not isinstance(loader, _Stateful):
        return True
    dataset = getattr(loader, "dataset", None)  # a stateful loader of another kind counts batches
    return isinstance(dataset, IterableDataset) and isinstance(dataset, _Stateful)


def _is_shared(loader: Any) -> bool:
    """Return whether all processes share one order of samples, whatever their number."""
    return not isinstance(loader, _Stateful) and any(isinstance(one, DistributedSampler) for one in samplers_of(loader))


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _list(names: Sequence[str]) -> str:
    return " and ".join(names) or "nothing"
