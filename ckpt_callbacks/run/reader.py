"""The questions that a callback answers about its run, the same in every framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, SupportsIndex, TypeVar

from ..errors import DirectoryInUse, PolicyError
from ..policy.plan import Plan
from ..record import Record
from ..settings import Settings
from ..store.lock import real, shared_by
from .no_best import NoBest
from .run import Run
from .view import RunView

_Reader = TypeVar("_Reader", bound="RunReader")


class RunReader:
    """Answers questions from the manifest, at any time: before, during and after `fit`.

    A copy, and what another process unpickles, is a new callback with the same arguments: the run with its locks and
    threads belongs to the callback that trains.

    Args:
        new_run: Returns the run of the callback, with the given settings.
        settings: The settings; without a directory, `fit` decides where it is.
        arguments: Arguments for the framework's callback class.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _copied: tuple[str, ...] = ()  # names of attributes that a copy gets besides the arguments

    def __new__(cls: type[_Reader], *arguments: Any, **named: Any) -> _Reader:
        self = super().__new__(cls)
        self._arguments = arguments, named
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return _new, (type(self), *self._arguments), {name: getattr(self, name) for name in self._copied}

    def __init__(self, new_run: Callable[[Settings], Run], settings: Settings, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._new_run, self._settings, self._no_best = new_run, settings, NoBest()
        self._placed = None if settings.dirpath is None else new_run(settings)

    def _place(self, dirpath: str) -> None:
        """Set the run directory, which was not known before."""
        self._placed = self._new_run(replace(self._settings, dirpath=dirpath))

    def _refuse_shared_directory(self, callbacks: Iterable[object]) -> None:
        """Make sure that no other callback of a list writes to the same directory.

        Raises:
            DirectoryInUse: Another one does.
            PolicyError: The list holds this callback twice.
        """
        others = [one._placed for one in callbacks if isinstance(one, RunReader)]
        if self._placed is None:
            return
        if others.count(self._placed) > 1:
            raise PolicyError(f"{self.dirpath}: this {type(self).__name__} was passed more than once; expected once")
        own = self._placed.directory
        for one in others:
            if one is not None and one is not self._placed and real(one.dirpath) == real(own.dirpath):
                raise DirectoryInUse(shared_by(own.dirpath, own.called, one.directory.called))

    @property
    def _run(self) -> Run:
        if self._placed is None:
            raise PolicyError(
                f"{type(self).__name__}: has no directory before fit(), where it gets the logger's; to read or resume "
                "a run before, expected dirpath"
            )
        return self._placed

    def __repr__(self) -> str:
        where = self._settings.dirpath if self._placed is None else self.dirpath
        return f"<{type(self).__name__} of {where}>"

    @property
    def dirpath(self) -> str:
        """The run directory."""
        return str(self._run.dirpath)

    def resume_path(self) -> str | None:
        """Return the newest checkpoint that a run can continue from and that passes verification, or None.

        If there is none here, it is brought back from a mirror, with the best one.

        Raises:
            ResumeError: No mirror can be read, so it is not known whether there is one.
            StoreError: The directory holds a run of another framework.
        """
        self._run.directory.announcements.ask_to_resume()
        self._run.directory.repair_if_idle(to_resume=True)
        record = next(self._run.view.verified_resumable(), None)
        return str(record.path) if record else None

    def best(self) -> Record | None:
        """Return the best checkpoint (its file is ``.path``), or None before any finite value.

        After a `fit`, the log says why it is None.
        """
        found = self._best()
        if found is None and not self._run.is_open and self._run.processes.is_primary:
            self._no_best.explain(self._run.directory.shown, self._run.state)
        return found

    def last(self) -> Record | None:
        """Return the newest checkpoint, or None."""
        view = self._view()
        return view.existing(view.last)

    def final(self) -> Record | None:
        """Return the state when `fit` ended, or None."""
        view = self._view()
        return view.existing(view.final)

    def records(self) -> list[Record]:
        """Return all checkpoints of the run that exist, oldest first."""
        return self._view().existing_records()

    def wait(self) -> None:
        """Wait until every requested save is on the disk, or has failed."""
        self._run.wait()

    def plan(self) -> Plan:
        """Return which checkpoints survive, and why."""
        return self._view().plan()

    def _best(self) -> Record | None:
        """Return the best checkpoint, or None without a reason."""
        view = self._view()
        return view.existing(view.best)

    def _view(self) -> RunView:
        self._run.view.refresh()
        return self._run.directory.shown


def _new(kind: type[RunReader], arguments: tuple[Any, ...], named: dict[str, Any]) -> RunReader:
    return kind(*arguments, **named)
