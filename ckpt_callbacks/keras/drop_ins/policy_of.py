"""The policies that the arguments of Keras' callbacks mean, for those who move on to `KerasCheckpoint`."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import keras

from ...config.meaning import Meaning, applying, ranked_by
from ...errors import PolicyError
from ...formats.keras.suffix import KERAS, WEIGHTS
from ...policy.direction import direction_of
from ...policy.filename import FileName
from ...policy.metric import Metric, UnknownDirection
from ...policy.policy import Policy
from ...policy.retention import KeepAll, KeepBest, KeepLast, Retention
from ...policy.stopping import Patience
from ...policy.triggers import Every, Improves, OnPreempt
from .differences import BACKUP, EARLY_STOPPING, MODEL_CHECKPOINT, fields

# -- ModelCheckpoint ---------------------------------------------------------------------------------------------------


def meaning_of(callback: Any) -> Meaning:
    """Return the policy that saves when a `ModelCheckpoint` does, and keeps what it keeps.

    Raises:
        PolicyError: The direction of the metric is unknown.
    """
    by_batch, every = callback.save_freq != "epoch", _every(callback.save_freq)
    overwrites = not fields(callback.filepath)
    if callback.save_best_only:
        more = {"baseline": callback.initial_value_threshold, "per": "step" if by_batch else "epoch"}
        metric = _metric(callback, **more)
        keep: Retention = KeepBest(1, by=metric) if overwrites else KeepAll()
        save = every & Improves(metric) if by_batch else Improves(metric)
        policy = Policy(save, keep, best_by=ranked_by(keep, metric))
    else:
        policy = Policy(every, KeepLast(1) if overwrites else KeepAll())
    settings: dict[str, Any] = {"contents": "weights"} if callback.save_weights_only else {"resume": "never"}
    if folder := os.path.dirname(callback.filepath):
        settings["dirpath"] = folder
    if (filename := _filename(callback)) is not None:
        settings["filename"] = filename
    arguments: tuple[str, ...] = ()
    if callback.save_best_only and by_batch:
        arguments = ("batch_metrics=True lets KerasCheckpoint compare the values of single batches",)
    return Meaning(policy, settings, arguments, tuple(_notes(callback)), **applying(MODEL_CHECKPOINT, callback))


def _notes(callback: Any) -> Iterator[str]:
    if not os.path.dirname(callback.filepath):
        yield "dirpath: KerasCheckpoint keeps a run directory of its own, such as 'runs/a'"
    if fields(callback.filepath) and _filename(callback) is None:
        yield "filename: a template of its own, such as '{epoch:03d}-{val_loss:.3f}', without a suffix"
    if callback.save_weights_only:
        yield "no run can be resumed from weights alone"
    else:
        yield "resume: ModelCheckpoint never continues the last run; without it, KerasCheckpoint does"


def _filename(callback: Any) -> str | None:
    """Return the template that gives KerasCheckpoint's files the same names; None if there is none."""
    folder, name = os.path.split(callback.filepath)
    if not fields(name) or fields(folder) or "batch" in fields(name):
        return None
    template = name.removesuffix(WEIGHTS if callback.save_weights_only else KERAS)
    try:
        return FileName(template, metrics=tuple(fields(name))).template
    except PolicyError:
        return None


# -- BackupAndRestore --------------------------------------------------------------------------------------------------


def backup_policy(callback: Any) -> Policy:
    """Return the policy with which a `BackupAndRestore` saves."""
    kept = KeepLast(2 if callback.double_checkpoint else 1)
    if callback.save_freq is False:
        return Policy(OnPreempt(), kept)
    return Policy(_every(callback.save_freq), kept)


def _every(save_freq: str | int) -> Every:
    return Every(epochs=1) if save_freq == "epoch" else Every(steps=max(1, int(save_freq)))


def backup_meaning_of(callback: Any) -> Meaning:
    """Return what the arguments of a `BackupAndRestore` mean."""
    notes = ("delete_checkpoint: KerasCheckpoint leaves the final state",) if callback.delete_checkpoint else ()
    settings = {"dirpath": str(callback.backup_dir)}
    return Meaning(backup_policy(callback), settings, notes=notes, **applying(BACKUP, callback))


# -- EarlyStopping -----------------------------------------------------------------------------------------------------


def stop_meaning_of(callback: Any) -> Meaning:
    """Return the policy that stops when an `EarlyStopping` does.

    A policy saves as well: this one at the end of each epoch, of which it keeps the newest checkpoint, and the best one
    if its weights are restored.

    Raises:
        PolicyError: The direction of the metric is unknown.
    """
    stop = Patience(
        _metric(callback, min_delta=abs(callback.min_delta), baseline=callback.baseline),
        max(1, callback.patience),  # it also stops at the first check with patience=0
        callback.start_from_epoch,
    )
    keep: Retention = KeepLast(1)
    arguments: tuple[str, ...] = ()
    if callback.restore_best_weights:
        keep |= KeepBest(1, by=_metric(callback))
        arguments = ("restore_best_weights: pass restore_best_weights=True to KerasCheckpoint as well",)
    notes = ["a policy saves as well: this one at the end of each epoch, and it keeps the newest checkpoint"]
    if callback.baseline is not None:
        notes.append("baseline: the policy stops also at a check that is the best so far, but not beyond the baseline")
    return Meaning(
        Policy(Every(epochs=1), keep, stop), {}, arguments, tuple(notes), **applying(EARLY_STOPPING, callback)
    )


# -- the metric --------------------------------------------------------------------------------------------------------


def _metric(callback: Any, **more: Any) -> Metric:
    return Metric(callback.monitor, mode=_mode(callback), **more)


def _mode(callback: Any) -> str:
    """Return the direction that Keras gives the metric of a callback.

    With ``mode="auto"``, Keras asks the metrics of the model. A callback that has none yet is asked about the metric of
    Keras that has the name.

    Raises:
        PolicyError: Neither is known, or ``monitor`` is no name.
    """
    if not isinstance(callback.monitor, str):
        raise PolicyError(
            f"{type(callback).__name__}: monitor is {callback.monitor!r}; expected the name of a logged value"
        )
    if callback.mode in ("min", "max"):
        return str(callback.mode)
    if callback.monitor_op is not None:
        return "max" if callback.monitor_op is keras.ops.greater else "min"
    if vars(callback).get("_model") is not None:
        asked = copy.copy(callback)
        try:
            keras.callbacks.EarlyStopping._set_monitor_op(asked)
            return "max" if asked.monitor_op is keras.ops.greater else "min"
        except ValueError:
            pass  # the model may not have been compiled yet
    name = callback.monitor.removeprefix("val_")
    direction = "min" if name == "loss" else _of_keras(name) or direction_of(name)
    if direction is None:
        raise UnknownDirection(
            f"{type(callback).__name__}: mode='auto' asks the model's metrics whether less or more of "
            f"{callback.monitor!r} is better; expected mode='min' or mode='max'"
        )
    return direction


def _of_keras(name: str) -> str | None:
    """Return the direction of the metric that Keras has under a name; None if it has none."""
    try:
        metric = keras.metrics.get(name)
    except (ValueError, TypeError):
        return None
    return {"up": "max", "down": "min"}.get(getattr(metric, "_direction", ""))
