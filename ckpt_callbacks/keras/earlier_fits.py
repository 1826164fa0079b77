"""The checkpoint that a call of `fit` continues from, among those of all calls of its script."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from ..record import Record, Status
from ..run.given_checkpoint import given_checkpoint
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..run.view import RunView
from .loaded_checkpoint import find_loaded
from .update_counter import has_trained

# Models that a call of `fit` has only loaded, because an earlier start of the script had completed that call.
_replayed: weakref.WeakSet[keras.Model] = weakref.WeakSet()


@dataclass(frozen=True)
class ResumeRequest:
    """The checkpoint that a script asks to resume from, and the parts of it.

    Attributes:
        where: ``auto``, ``never`` or a path; see `KerasCheckpoint`.
        parts: The parts of the checkpoint to restore.
    """

    where: str | PathLike[str]
    parts: ResumedParts


@dataclass(frozen=True)
class Choice:
    """The starting point of a call of `fit`: a checkpoint, or the model as it is.

    Attributes:
        path: The checkpoint; None to train the model as it is, or to train nothing.
        done: One line that says why this call trains nothing; empty if it trains.
        weights: The checkpoint of a later call, from which only weights are loaded; None if there is none.
        loaded: The checkpoint whose weights the script itself has loaded into the model; None if there is none.
    """

    path: Path | None = None
    done: str = ""
    weights: Record | None = None
    loaded: Record | None = None


def choose(run: Run, request: ResumeRequest, model: keras.Model, epochs: int) -> Choice:
    """Return what a call of `fit` continues from.

    If the call trains another model than earlier calls in this process did, and has no checkpoint, the run forgets
    those calls.

    Args:
        run: The run.
        request: The script's request.
        model: The model.
        epochs: The number of epochs that the call asks for.

    Raises:
        ResumeError: ``resume`` names a file that does not exist.
        VerifyError: ``resume`` names a damaged checkpoint.
    """
    replayed, known = model in _replayed, run.fits.were_for(model)
    _replayed.discard(model)
    if request.where not in ("auto", "never"):
        if known and not run.is_first_fit:
            return Choice()
        if not run.is_first_fit:
            run.begin_new_run()
        return Choice(given_checkpoint(run.view, request.where))
    trained = not replayed and (known or has_trained(model))
    if request.where == "auto" and not trained:
        run.directory.bring_back()
    choice = Choice()
    if request.where == "auto" and not request.parts.step:  # a new run, from the newest weights
        newest = None if trained else next(run.view.verified_resumable(), None)
        return Choice(newest.path if newest is not None else None)
    if request.where == "auto" and (replayed or not known):
        loaded = None if replayed else find_loaded(run.view, model)
        if loaded is not None:
            choice = _choice(run, epochs)
            if not _continues(run, choice, loaded, trained):
                return Choice(loaded=loaded)
        elif not trained:
            choice = _choice(run, epochs)
    if choice == Choice() and not trained:
        _begin_new_run(run, model)
    return choice


def leave(model: keras.Model) -> None:
    """Record that a call has loaded a model and trained nothing, so that the next call may load it again."""
    _replayed.add(model)


def _begin_new_run(run: Run, model: keras.Model) -> None:
    if run.fits.were_for_another(model):
        run.directory.announcements.name_other_model("resume='PATH' to continue from a checkpoint")
    if not run.is_first_fit and not run.fits.were_for(model):
        run.begin_new_run()


def _choice(run: Run, epochs: int) -> Choice:
    """Return what a call continues from if this process has not trained its model."""
    number, bound, view = run.fits.next_number, _bound(run), run.view
    found = next(view.verified_resumable(lambda r: r.fit == number and r.id > bound), None)
    saved = [r for r in _saved(view) if r.id > bound]
    own = max((r for r in saved if r.fit == number), key=lambda r: r.id, default=None)
    if own is None:
        return Choice()
    later = [r for r in saved if r.fit > number and r.id > own.id]
    in_run = {r.id for r in later if r.run == own.run}
    if not (in_run or (own.final and (later or _has_gone_on(view, own)))):
        return Choice(found.path if found is not None else None)
    newest = next(view.verified_resumable(lambda r: r.id in in_run), None)
    if found is None and newest is None:
        return Choice()  # only weights were saved
    last = newest or found
    assert last is not None
    if epochs > _asked(view, own):  # the script asks for more epochs than before
        return Choice(last.path)
    done = (
        f"an earlier run of this script had completed its fit {number} here and begun the next one, so this one "
        f"trains nothing; to continue from the newest checkpoint, pass resume={str(last.path)!r}"
    )
    return (
        Choice(found.path, done)
        if found is not None and (found == own or newest is None)
        else Choice(None, done, newest)
    )


def _saved(view: RunView) -> list[Record]:
    """Return the records of the current branch, including those that retention has deleted."""
    kept = (Status.COMMITTED, Status.VERIFIED, Status.THINNED, Status.DELETED)
    return [r for r in list(view.manifest.records.values()) if r.status in kept and not r.superseded]


def _continues(run: Run, choice: Choice, loaded: Record, trained: bool) -> bool:
    """Return whether a call continues from its own checkpoint, although the script has loaded one.

    Args:
        run: The run.
        choice: What the call would continue from if nothing had been loaded.
        loaded: The checkpoint that was loaded.
        trained: Whether its optimizer was loaded as well.
    """
    if run.fits.number and run.fits.has_ended:  # a script that was started again, and has repeated its earlier calls
        return choice != Choice()
    own = run.view.find(choice.path) if choice.path is not None else None
    ends = [r for r in _saved(run.view) if r.final and own is not None and (r.run, r.fit) == (own.run, own.fit)]
    if own is None or any(end.id >= own.id for end in ends):  # that call was completed, so this one continues training
        return False
    return bool(start_facts(run.view, own).get("loaded")) or (own == loaded and not trained)


def _bound(run: Run) -> int:
    """Return the id of the newest record of the calls before this one in this process."""
    fits = run.fits
    return max((r.id for r in _saved(run.view) if r.run == fits.run and r.fit < fits.next_number), default=0)


def _has_gone_on(view: RunView, record: Record) -> bool:
    """Return whether the script began its next call of `fit` after the one that saved a record."""
    attempts = view.manifest.attempts
    place = next(
        (n for n, a in enumerate(attempts) if (a.run, a.number) == (record.run, record.attempt)), len(attempts)
    )
    return any(attempt.facts.get("fit", 1) > record.fit for attempt in attempts[place + 1 :])


def _asked(view: RunView, record: Record) -> float:
    """Return the number of epochs that were requested of the call that saved a record."""
    return float(start_facts(view, record).get("epochs", math.inf))


def start_facts(view: RunView, record: Record) -> Mapping[str, Any]:
    """Return the facts about the start of training that saved a record."""
    own = (a for a in view.manifest.attempts if (a.run, a.number) == (record.run, record.attempt))
    return next((attempt.facts for attempt in own), {})
