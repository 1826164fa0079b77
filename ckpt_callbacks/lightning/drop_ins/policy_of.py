"""The policies that the arguments of Lightning's callbacks mean, for those who move on to `LightningCheckpoint`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from ...config.meaning import Meaning, applying, instead, ranked_by
from ...errors import PolicyError
from ...policy.composition import Trigger
from ...policy.metric import Metric
from ...policy.policy import Policy
from ...policy.retention import KeepAll, KeepBest, KeepLast, Retention
from ...policy.stopping import Diverges, NonFinite, Patience, Reaches, Stopping
from ...policy.triggers import Every, OnException
from ...recovery.ranked_by_others import ranked_by_others
from .differences import COUNTERS, EARLY_STOPPING, MODEL_CHECKPOINT, ranks

# -- ModelCheckpoint ---------------------------------------------------------------------------------------------------


def meaning_of(callback: ModelCheckpoint) -> Meaning:
    """Return the policy that saves when the callback does, and keeps what it keeps.

    It saves each time, not only what is among the best, and keeps the newest checkpoint to resume from.

    Raises:
        PolicyError: The callback saves nothing, or keeps the oldest.
    """
    save, keep = _save(callback), _retention(callback)
    best_by = ranked_by(keep, Metric(str(callback.monitor), mode=callback.mode)) if ranks(callback) else None
    settings: dict[str, Any] = {"contents": "weights"} if callback.save_weights_only else {}
    if callback.dirpath is not None:
        settings["dirpath"] = callback.dirpath
    return Meaning(
        Policy(save, keep, best_by=best_by), settings, notes=tuple(_notes(callback)),
        **applying(MODEL_CHECKPOINT, callback),
    )  # fmt: skip


def ranking_of(callback: ModelCheckpoint) -> Mapping[str, Any] | None:
    """Return what the manifest says about the best of its files; None if it ranks none."""
    if callback.monitor is None:
        return None
    try:
        return ranked_by_others(Metric(callback.monitor, mode=callback.mode))
    except PolicyError:  # a name that no metric of this package can have
        return None


def _save(callback: ModelCheckpoint) -> Trigger:
    if callback.save_top_k or callback.save_last:
        return _trigger(callback) | OnException() if callback.save_on_exception else _trigger(callback)
    if callback.save_on_exception:
        return OnException()
    raise PolicyError("ModelCheckpoint: save_top_k is 0, so nothing is saved; expected at least 1, or save_last=True")


def _trigger(callback: ModelCheckpoint) -> Trigger:
    interval = callback._train_time_interval
    if interval is not None:
        seconds = interval.total_seconds()
        return Every(seconds=seconds) if seconds > 0 else Every(steps=1)
    if callback._every_n_train_steps:
        return Every(steps=callback._every_n_train_steps)
    if callback._every_n_epochs:
        return Every(epochs=callback._every_n_epochs)
    raise PolicyError("ModelCheckpoint: every_n_epochs is 0, so nothing is saved; expected at least 1")


def _retention(callback: ModelCheckpoint) -> Retention:
    number, monitor = callback.save_top_k, callback.monitor
    if number == -1:
        return KeepAll()
    if number == 0 or monitor is None:
        return KeepLast(1)
    if monitor not in COUNTERS:
        return KeepLast(1) | KeepBest(number, by=Metric(monitor, mode=callback.mode))
    if callback.mode == "max":  # the newest ones
        return KeepLast(number)
    raise PolicyError(
        f"ModelCheckpoint: monitor={monitor!r} with mode='min' keeps the oldest checkpoints, which no policy does; "
        "expected mode='max', for the newest ones"
    )


def _notes(callback: ModelCheckpoint) -> Iterator[str]:
    if ranks(callback) and callback.save_top_k > 0:
        yield "the policy saves each time, not only what is among the best, and keeps the newest checkpoint as well"
    if ranks(callback) and not callback._every_n_epochs:
        yield f"a checkpoint ranks only if {callback.monitor} was measured at its step"
    if callback.filename is not None:
        yield "filename: a template of its own, such as '{epoch:03d}-{val_loss:.3f}', in which epochs count from 1"
    if callback.save_last:
        yield from instead("save_last")


# -- EarlyStopping -----------------------------------------------------------------------------------------------------


def stop_meaning_of(callback: EarlyStopping) -> Meaning:
    """Return the policy that stops when the callback does.

    A policy saves as well: it does what Lightning does with no other callback, which keeps the newest checkpoint of an
    epoch's end.

    Raises:
        PolicyError: An argument has no meaning in a policy.
    """
    policy = Policy(Every(epochs=1), KeepLast(1), _stopping(callback))
    return Meaning(policy, notes=tuple(_stop_notes(callback)), **applying(EARLY_STOPPING, callback))


def _stopping(callback: EarlyStopping) -> Stopping:
    # The original's sign of min_delta is that of the direction.
    metric = Metric(callback.monitor, mode=callback.mode)
    delta = callback.min_delta * (1 if callback.mode == "max" else -1)
    improving = Metric(callback.monitor, mode=callback.mode, min_delta=delta) if delta else metric
    stop: Stopping = Patience(improving, max(1, callback.patience))  # it also stops at the first check with patience=0
    if callback.check_finite:
        stop |= NonFinite(callback.monitor)
    if callback.stopping_threshold is not None:
        stop |= Reaches(metric, callback.stopping_threshold)
    if callback.divergence_threshold is not None:
        stop |= Diverges(metric, callback.divergence_threshold)
    return stop


def _stop_notes(callback: EarlyStopping) -> Iterator[str]:
    yield "a policy saves as well: this one at the end of each epoch, and it keeps the newest checkpoint"
    if callback.stopping_threshold is not None:
        yield "stopping_threshold: Reaches(...) also stops at the very value"
    if not callback.strict:
        yield from instead("strict")
