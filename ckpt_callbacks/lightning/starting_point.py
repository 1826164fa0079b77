"""The checkpoint that a trainer starts from, when the caller leaves the choice to the callback.

Lightning chooses a path before it calls any hook, and considers only the files of its own callbacks. Here its choice is
replaced just before the file is loaded, when all processes can agree on it.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from lightning.pytorch.trainer.states import TrainerFn

from ..errors import CkptError, ResumeError
from ..formats.torch.check import load
from ..formats.torch.quantized_state import restored
from ..mirrors.users import note_use
from ..policy.lineage import ancestors
from ..record import Record, Status
from ..run.given_checkpoint import given_checkpoint
from ..run.run import Run
from ..runtime.processes import Processes
from .compat import ModelCheckpointAttributes
from .fit_call import convert_before_loading, path_to_load
from .ignored_warning import IgnoredWarning
from .moved_states import find_moved
from .native_file import native_file
from .processes import TrainerProcesses, check_same_path

log = logging.getLogger("ckpt_callbacks")

Resume = str | PathLike[str]  # ``auto``, ``never`` or a path; see `LightningCheckpoint`

# What the callers of trainers have asked for last, and what is loaded instead of Lightning's choice.
_asked: weakref.WeakKeyDictionary[_CheckpointConnector, Any] = weakref.WeakKeyDictionary()
_chosen: weakref.WeakKeyDictionary[_CheckpointConnector, str] = weakref.WeakKeyDictionary()
_named: weakref.WeakKeyDictionary[_CheckpointConnector, bool] = weakref.WeakKeyDictionary()

_select = _CheckpointConnector._select_ckpt_path
_restore = _CheckpointConnector._restore_modules_and_callbacks
_restore_module = _CheckpointConnector.restore_model
_restore_theirs = _CheckpointConnector.restore_callbacks


def asks_for_last(trainer: Trainer) -> bool:
    """Return whether the caller of the trainer passes ``ckpt_path="last"``."""
    return bool(_asked.get(trainer._checkpoint_connector) == "last")


def is_asked_by_caller(trainer: Trainer) -> bool:
    """Return whether the caller of the trainer names what is loaded; otherwise the callback does."""
    return _asked.get(trainer._checkpoint_connector) is not None


def is_named(trainer: Trainer) -> bool:
    """Return whether the caller or ``resume`` named the path of the checkpoint; otherwise, it is the newest one."""
    return _named.get(trainer._checkpoint_connector, False)


def choose(run: Run, trainer: Trainer, resume: Resume) -> None:
    """Have Lightning load what the caller asks for: a path, ``"last"``, or what ``resume`` stands for. Collective.

    Args:
        run: The run of the callback; if the trainer fits, its directory is open.
        trainer: The trainer, in its `setup`.
        resume: What the callback was given.

    Raises:
        ResumeError: The path is not a file, or processes have different ones.
        VerifyError: The path is that of a damaged checkpoint.
    """
    connector, fits = trainer._checkpoint_connector, trainer.state.fn == TrainerFn.FITTING
    processes, asked = TrainerProcesses(trainer), _asked.get(connector)
    theirs = _chosen.get(connector, path_to_load())
    _named[connector] = (resume if asked is None else asked) not in ("auto", "never", "last")
    find: Callable[[], Path | None] | None = None
    if asked == "last":
        run.directory.announcements.ask_to_resume()
        find = functools.partial(_last, run, trainer, theirs, fits)
    elif asked is None and fits and resume != "never" and not _is_search(trainer):
        find = functools.partial(_automatic, run, trainer, theirs, resume)
    if find is not None:
        path = _shared(processes, find)
        if path is not None:
            theirs = _chosen[connector] = path
        elif asked == "last" and theirs is None:
            log.warning('%s: ckpt_path is "last", and %s, so none is loaded', run.dirpath, _why_none(run))
    if fits:
        if is_asked_by_caller(trainer) and is_named(trainer) and processes.is_primary and theirs is not None:
            note_use(Path(theirs), run.dirpath)
        check_same_path(trainer, processes, theirs)
        convert_before_loading(trainer, theirs)


def _last(run: Run, trainer: Trainer, theirs: Any, fits: bool) -> Path | None:
    """Return the newest checkpoint of the directory: to continue from if the trainer fits, otherwise any.

    In a script of several fits, it is the newest one within the trainer's epochs, if a later fit has saved the others.
    """
    run.directory.repair_if_idle(to_resume=True)
    if fits:
        number, most = run.fits.next_number, trainer.max_epochs
        resumable = run.view.resumable()
        if most not in (None, -1) and resumable and resumable[0].fit > number and _epochs(resumable[0].path) > most:
            own = next(run.view.verified_resumable(lambda r: r.fit <= number and r.epoch <= most), None)
            if own is not None:
                return _later(run, own, theirs)
        return _later(run, next(run.view.verified_resumable(), None), theirs)
    run.view.refresh()
    return _later(run, next(run.view.verified(reversed(run.view.records())), None), theirs)


def _why_none(run: Run) -> str:
    manifest = run.directory.manifest
    # A damaged file has failed, unless it could not even be read.
    holds_any = any(r.status is Status.FAILED and r.path.exists() for r in manifest.records.values()) or manifest.live()
    return "its checkpoints cannot be loaded" if holds_any else "there is no checkpoint yet"


def _automatic(run: Run, trainer: Trainer, theirs: Any, resume: Resume) -> Path | None:
    """Return what a fit whose caller names no checkpoint continues from, if the process has not trained its model."""
    if run.fits.were_for(trainer.lightning_module):
        return None
    if resume != "auto":
        return given_checkpoint(run.view, resume)
    run.directory.bring_back()
    number = run.fits.next_number
    found = _of_fit(run, number)
    if not found:
        return _last(run, trainer, theirs, fits=True) if number == 1 else None
    if found[0].fit > number and trainer.max_epochs not in (None, -1):
        # Later fits of the same trainer have continued the run of this one, perhaps with more epochs.
        found = [record for record in found if record.epoch <= trainer.max_epochs] or found
    if found[0].superseded:
        newest = next(run.view.verified(record for record in found if record.resumable), None)
    else:
        ids = {record.id for record in found}
        newest = next(run.view.verified_resumable(lambda record: record.id in ids), None)
    return _later(run, newest, theirs)


def _of_fit(run: Run, number: int) -> list[Record]:
    """Return the records of the script's ``number``-th fit, newest first, if it can continue from any.

    The next fit with another trainer begins a run of its own, which supersedes the records of this one.
    """
    manifest = run.directory.manifest
    records, attempts = list(manifest.records.values()), manifest.attempts
    for own in reversed(attempts):
        if own.facts.get("fit", 1) == number:
            newest = max(attempt.number for attempt in attempts if attempt.run == own.run)
            line = ancestors(records, attempts, own.run, newest)
            found = [record for record in reversed(manifest.live()) if record.id in line]
            if any(record.resumable for record in found):
                return found
    return []


def _later(run: Run, ours: Record | None, theirs: Any) -> Path | None:
    """Return the path of a checkpoint, or None if what Lightning has chosen itself is of a later step."""
    if ours is None:
        return None
    if theirs is not None and Path(theirs).resolve() != ours.path.resolve():
        steps = _step(theirs), _step(ours.path)
        if None not in steps and steps[0] > steps[1]:
            log.warning(
                "%s: %s, of another callback, is at step %d, so it is loaded instead of %s, at step %d",
                run.dirpath, theirs, steps[0], ours.file, steps[1],
            )  # fmt: skip
            return None
    return ours.path


def _step(path: str | PathLike[str]) -> Any:
    """Return the step at which a checkpoint was taken; None if that cannot be read."""
    try:
        return load(Path(path))["global_step"]
    except (CkptError, KeyError, TypeError):
        return None


def _epochs(path: Path) -> int:
    """Return the number of epochs that had begun when a checkpoint was taken; 0 if that cannot be read."""
    try:
        return int(load(path)["loops"]["fit_loop"]["epoch_progress"]["current"]["started"])
    except (CkptError, KeyError, TypeError):
        return 0


def _is_search(trainer: Trainer) -> bool:
    """Return whether a fit only searches for a learning rate or a batch size, with `Tuner`."""
    finders = (one for one in trainer.callbacks if isinstance(one, LearningRateFinder | BatchSizeFinder))
    return any(one._early_exit for one in finders)


def _shared(processes: Processes, find: Callable[[], Path | None]) -> str | None:
    """Return what the primary process finds, or raise its error, in all processes."""
    path, error = None, None
    if processes.is_primary:
        try:
            path = find()
        except CkptError as raised:
            error = raised
    found, problem = processes.broadcast(
        (None if path is None else str(path), None if error is None else str(error)) if processes.is_primary else None
    )
    if error is not None:
        raise error
    if problem is not None:
        raise ResumeError(problem)
    return found


# -- in Lightning ------------------------------------------------------------------------------------------------------


def _select_and_note(
    connector: _CheckpointConnector, state_fn: TrainerFn, ckpt_path: Any, *arguments: Any, **named: Any
) -> Any:
    """Note what the caller asks for. Lightning would warn that it knows no file for ``"last"``."""
    _chosen.pop(connector, None)
    _asked[connector] = ckpt_path or (connector._ckpt_path if connector._user_managed else None)
    trainer, ignored = connector.trainer, IgnoredWarning(".*there is no last checkpoint available")
    if trainer.fast_dev_run or not any(isinstance(one, ModelCheckpointAttributes) for one in trainer.callbacks):
        return _select(connector, state_fn, ckpt_path, *arguments, **named)
    ignored.begin()
    try:
        return _select(connector, state_fn, ckpt_path, *arguments, **named)
    finally:
        ignored.end()


def _restore_the_chosen(connector: _CheckpointConnector, checkpoint_path: Any = None, *arguments: Any) -> None:
    checkpoint_path = _chosen.pop(connector, checkpoint_path)  # `path_being_loaded` reads this variable
    if connector.trainer.state.fn == TrainerFn.FITTING:  # the plugin reads the compressed file
        _restore(connector, checkpoint_path, *arguments)
        return
    with native_file(checkpoint_path) as file:
        _restore(connector, file, *arguments)


def _restore_callbacks(connector: _CheckpointConnector) -> None:
    """Restore the callbacks. Lightning would warn that those of a moved directory are missing."""
    checkpoint = connector._loaded_checkpoint
    if checkpoint and checkpoint.get("callbacks"):
        find_moved(checkpoint["callbacks"], connector.trainer.callbacks)
    _restore_theirs(connector)


def _restore_model(connector: _CheckpointConnector) -> None:
    """Restore the module, from whole numbers as well."""
    if connector._loaded_checkpoint:
        connector._loaded_checkpoint = restored(connector._loaded_checkpoint)
    _restore_module(connector)


_CheckpointConnector._select_ckpt_path = _select_and_note
_CheckpointConnector.restore_model = _restore_model
_CheckpointConnector.restore_callbacks = _restore_callbacks
_CheckpointConnector._restore_modules_and_callbacks = _restore_the_chosen
