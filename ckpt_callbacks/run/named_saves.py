"""Saves that other code decides on and names, such as a drop-in for a framework's own callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..errors import CkptError, CommitError, first_line
from ..events import Event
from ..policy.decision import Save
from ..record import Attempt, Record
from ..store.layout import require_inside
from .committer import Committer, SaveOutcome
from .decider import Decider
from .directory import RunDirectory
from .left_files import LeftFiles
from .outcomes import Outcomes
from .saver import Named, Saver
from .source import Source

Answer = Callable[[SaveOutcome], None]


@dataclass(frozen=True)
class Training:
    """What the saves ask of their session.

    Attributes:
        begin_event: Begins an event, and returns it; see `Session`.
        source: Returns the training run; None before it has started.
    """

    begin_event: Callable[[Event], Event]
    source: Callable[[], Source | None]


class NamedSaves:
    """The saves, second names and deletions that other code asks for. The first of them takes the directory.

    All of them are carried out in the order in which they were asked for, in the background as any save. Processes that
    train together call each method together.

    Args:
        directory: The run directory.
        committer: Carries them out.
        saver: Takes the snapshots.
        decider: Stamps the events.
        outcomes: Reports how they ended.
        training: The session.

    Attributes:
        left: Gives records to what the original has left in the directory.
    """

    def __init__(
        self,
        directory: RunDirectory,
        committer: Committer,
        saver: Saver,
        decider: Decider,
        outcomes: Outcomes,
        training: Training,
    ) -> None:
        self._directory, self._committer, self._saver, self._decider = directory, committer, saver, decider
        self._outcomes, self._training, self._last = outcomes, training, 0
        self.left = LeftFiles(directory.manifest, self._note_left)
        directory.late.before_start = self._precede

    def save(
        self, file: str, event: Event, *, reason: str, contents: str = "full", source: Source | None = None,
        done: Answer | None = None,
    ) -> int:  # fmt: skip
        """Take a snapshot now, and write it to ``file``, in one step in place of whatever has that name.

        Args:
            file: The name in the run directory; it may contain folders, which are created.
            event: The moment, with the metrics that were measured at its weights.
            reason: Why, in words, for the record.
            contents: ``"full"`` or ``"weights"``.
            source: Takes the snapshot; by default, what `Run.start` received.
            done: Called on the training thread with the outcome, once the file is durable and verified, or has failed.

        Returns:
            The number of the save, for `delete`.

        Raises:
            CommitError: This save or an earlier one failed, with ``on_error="raise"``.
            DirectoryInUse: Another training run holds the directory.
            StoreError: The directory cannot be written, or holds a run of another framework.
            ValueError: The name leads out of the directory.
        """
        require_inside(file)
        event, number = self._training.begin_event(event), self._next(done)
        stamped = self._decider.stamped(event, self._directory.processes)
        taken = source or self._training.source()
        if taken is None:
            raise CommitError(f"{self._directory.dirpath / file}: was not saved, because training has not begun")
        asked, named = Save(number, (reason,)), Named(file, contents, partial(self._outcomes.deliver, event.step))
        self._saver.save(asked, stamped, stamped, self._decider.state, taken, named=named)
        self.left.begin()
        self._outcomes.deliver(event.step, may_raise=True)
        return number

    def link(
        self, file: str, to: str, *, reason: str, symbolic: bool = False, after: int | None = None,
        done: Answer | None = None,
    ) -> int:  # fmt: skip
        """Give a checkpoint a second name. Whatever has that name stays if the checkpoint was not saved.

        Args:
            file: The second name in the run directory.
            to: The checkpoint's name.
            reason: Why, in words, for the record.
            symbolic: Whether to make a symbolic link, instead of a hard link with a record of its own.
            after: The number of the save of the checkpoint. If it fails, an older one of the same name gets no second
                name.
            done: As for `save`. The outcome of a symbolic link has no record.

        Returns:
            The number of the request.
        """
        number = self._next(done)
        if self._directory.processes.is_primary:
            id_ = None if symbolic else self._committer.new_id()
            self._committer.then(lambda: self._saver.take(self._link(number, id_, file, to, reason, after)))
        self._deliver()
        return number

    @property
    def waiting(self) -> int:
        """The number of requests that are not done."""
        return self._committer.waiting

    def delete(self, file: str, after: int | None = None) -> None:
        """Delete a checkpoint, unless it is pinned or tagged.

        Args:
            file: Its name in the run directory.
            after: The number of the save that takes its place. If that save fails, the checkpoint stays.
        """
        self._directory.take()
        if self._directory.processes.is_primary:
            self._committer.then(lambda: self._delete(file, after))
        self._deliver()

    def _precede(self, begun: Attempt) -> Attempt:
        """Put what the original has left before a start of training."""
        self._saver.attempt = begun = self.left.find(begun)
        return begun

    def _note_left(self, record: Record) -> None:
        self._committer.files.left[record.file] = record.id

    def _next(self, done: Answer | None) -> int:
        """Return a number that no save of the engine has: those count upward."""
        self._directory.take()
        self._last -= 1
        if done is not None:
            self._outcomes.answers[self._last] = done
        return self._last

    def _deliver(self) -> None:
        if self._directory.processes.is_single:
            self._outcomes.deliver()

    def _link(
        self, number: int, id_: int | None, file: str, to: str, reason: str, after: int | None
    ) -> SaveOutcome:  # fmt: skip
        record = None
        try:
            if after in self._saver.failed:
                raise CommitError(f"stays as it is, because {to} was not saved")
            if id_ is None:
                self._committer.files.point(file, to)
            else:
                record = self._committer.files.link(id_, file, to, reason)
        except Exception as error:  # whatever a disk raises: it never ends a training run
            text = first_line(error) if isinstance(error, CkptError) else f"{type(error).__name__}: {first_line(error)}"
            return SaveOutcome(number, error=CommitError(f"{self._directory.dirpath / file}: {text}"))
        finally:
            if id_ is not None:
                self._committer.forget_id(id_)
        return SaveOutcome(number, record)

    def _delete(self, file: str, after: int | None) -> None:
        if after not in self._saver.failed:
            self._committer.quietly(lambda: self._committer.files.delete(file))
