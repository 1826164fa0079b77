"""One mirror of a run, kept up to date by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from ..errors import MirrorConflict, MirrorDamaged, MirrorUnreachable, VerifyError, first_line
from ..policy.contents import Contents
from ..policy.mirror import Mirror
from ..record import Record
from ..remote.counted import Counted
from ..remote.object_store import ObjectStore
from ..remote.retried import Retried
from ..remote.upload import PART
from ..runtime.environment import environment
from ..runtime.priority import yield_to_training
from .lost_entries import LostEntries, lost_entries
from .notes import Notes
from .sending import Sending
from .source import MirroredRun
from .users import ids_in_use
from .wanted import Wishes, records_now, to_amend, to_remove, to_send
from .writer import MirrorWriter

log = logging.getLogger("ckpt_callbacks")

_SHORT_PAUSE, _FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0, 300.0
_DAMAGED = 3  # how often a checkpoint is sent again at the end of a run because other bytes have arrived


class Ended(Exception):
    """The run has ended, and nothing more is to be sent."""


class Mirroring:
    """Sends the checkpoints of a run to one mirror, newest first, and deletes there what its rules do not keep.

    Whatever fails is said in one line and tried again; training never fails because of it, and never waits for it.

    Args:
        mirror: The mirror.
        store: Its store.
        run: The run.
        patience: Seconds for which a request is tried again before the whole attempt counts as failed.
        part: Bytes of a part of an upload.
    """

    def __init__(
        self,
        mirror: Mirror,
        store: ObjectStore,
        run: MirroredRun,
        patience: float = 60.0,
        part: int = PART,
    ) -> None:
        self._mirror, self._run, self.url = mirror, run, store.url
        self._counted = Counted(store)
        self._store = Retried(self._counted, patience, self._go_on)
        self._wishes = Wishes(
            run.policy.keep if mirror.keep is None else mirror.keep, run.policy.best_metric, mirror.contents
        )
        self.notes = Notes(run.manifest.layout.private, store.url)
        self._sending = Sending(self._store, self.notes, mirror.max_upload_rate, self._go_on, self._move, part)
        self._writer: MirrorWriter | None = None
        self._lost = LostEntries()  # what the mirror had no longer when this process began
        self._thread: threading.Thread | None = None
        self._wakened, self._is_ended, self._is_finishing = threading.Event(), False, False
        self._is_refused = False  # the place is somebody else's
        self._has_failed = False  # the last round has, for good
        self._problem = ""  # what was said last
        self._is_outage = False  # it was that the store does not answer
        self._skipped: set[tuple[int, str]] = set()  # checkpoints that cannot be sent, by id and digest
        self._sent_at = -float("inf")
        self._moved_at = time.monotonic()  # when something arrived last, or was done

    def start(self) -> None:
        """Begin to send what is there."""
        self._is_ended = self._is_finishing = self._has_failed = False
        self._start_thread()

    def _start_thread(self) -> None:
        if not self._is_refused and (self._thread is None or not self._thread.is_alive()):
            thread = threading.Thread(target=self._work, name="ckpt_callbacks-mirror", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the limit of threads is reached, or the process is ending
                self._say(error)
            else:
                self._thread = thread

    def wake(self) -> None:
        """Look again, because there may be a new checkpoint."""
        self._wakened.set()
        if self._thread is not None and not (self._is_ended or self._is_finishing):
            self._start_thread()  # an earlier `stop` may have ended it late

    def begin_to_finish(self) -> None:
        """Expect no further checkpoint, and send the last ones without their distance."""
        self._is_finishing, self._moved_at = True, time.monotonic()
        self._wakened.set()

    def finish(self, patience: float, most: float = float("inf")) -> bool:
        """Send all that is wanted, and end the thread. Return False if something was left, once.

        Args:
            patience: Seconds without any progress after which it gives up.
            most: Seconds after which it gives up in any case.
        """
        thread, begun = self._thread, time.monotonic()
        if self._is_ended:  # an earlier call has said how it ended
            return True
        if not self._is_finishing:
            self.begin_to_finish()
        while thread is not None and thread.is_alive():
            now = time.monotonic()
            if now - self._moved_at > patience or now - begun > most:
                self.stop()
                if self.reason:
                    self.notes.note_status(error=self.reason, failed=time.time())
                return False
            thread.join(0.05)
        failed, self._has_failed = self._has_failed, False
        return not failed

    @property
    def reason(self) -> str:
        """What failed last, also if it is tried again and no line has said it yet; empty if nothing has."""
        failure = self._store.failure
        return first_line(failure) if failure is not None else self._problem

    def stop(self) -> None:
        """End the thread at its next step. What it waits for does not keep the process alive."""
        self._is_ended = True
        self._wakened.set()

    # -- on the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        yield_to_training()
        pause, damaged = _FIRST_PAUSE, 0
        while not self._is_ended:
            self._wakened.clear()
            last_round = self._is_finishing  # what is there now is all there will be
            try:
                pause, wait = _FIRST_PAUSE, self._synchronise()
                self._say_recovered()
            except Ended:
                return
            except MirrorConflict as error:
                self._is_refused = True
                self._say(error)
                return
            except Exception as error:  # whatever an engine raises
                self._say(error)
                damaged += isinstance(error, MirrorDamaged)
                may_pass = isinstance(error, MirrorUnreachable | MirrorDamaged) and damaged <= _DAMAGED
                if last_round and not may_pass:
                    self._has_failed = True
                    return
                wait = _SHORT_PAUSE if last_round else pause
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if last_round:
                    return
            if self._wakened.wait(wait) and self._problem and not self._is_finishing:
                self._rest(min(pause, _FIRST_PAUSE))  # a store that does not answer is not asked at each save

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not (self._is_ended or self._is_finishing) and time.monotonic() < end:
            time.sleep(0.05)

    def _until_due(self, writer: MirrorWriter) -> float | None:
        """Return the seconds until the next checkpoint may be sent; None if there is none."""
        if not self._mirror.every:
            return None
        there = self._lost.left_of(writer.catalog)
        wanted = to_send(self._wishes, there, self._run.records(), self._now(writer))
        if all((record.id, record.digest) in self._skipped for record, _ in wanted):
            return None
        return max(0.1, self._sent_at + self._mirror.every - time.monotonic())

    def _go_on(self) -> None:
        if self._is_ended:
            raise Ended

    def _move(self, count: int = 0) -> None:
        if not self._sending.repeats:  # else the end of a run could last forever
            self._moved_at = time.monotonic()

    def _synchronise(self) -> float | None:
        """Send what the mirror lacks, and delete there what it need not hold.

        Returns:
            The seconds until the next checkpoint may be sent; None if there is none.
        """
        writer = self._writer
        if writer is None:
            writer = MirrorWriter(self._store, environment()["host"], self._run.framework)
            writer.open(self._run.manifest.attempts)
            self._lost = lost_entries(self._store, writer.catalog, {record.id for record in self._run.records()})
            if self._lost:
                log.warning("%s: has lost %s; what is to be there is sent again", self.url, self._lost.files)
            self._writer = writer
        is_due = self._is_finishing or time.monotonic() >= self._sent_at + self._mirror.every
        newest = max((record.id for record in self._run.records()), default=0)
        now = self._now(writer)
        while is_due and (due := self._next(writer, now, newest)) is not None:
            writer.note(self._run.manifest.attempts)
            if self._send(writer, *due):
                self._sent_at = time.monotonic()
            now = self._now(writer)
        if changed := to_amend(self._lost.left_of(writer.catalog), now):
            writer.amend(changed)
        self._remove(writer, now)
        wait = self._until_due(writer)
        if wait is None:
            self._sending.forget()
        self.notes.note_requests(*self._counted.taken())
        return wait

    def _now(self, writer: MirrorWriter) -> list[Record]:
        return records_now(self._lost.left_of(writer.catalog), self._run.known)

    def _next(self, writer: MirrorWriter, now: Sequence[Record], newest: int) -> tuple[Record, Contents] | None:
        """Return the checkpoint to send now, and what is needed of it; None if there is none.

        Args:
            writer: The mirror's writer.
            now: The records of the mirror; see `records_now`.
            newest: The highest id; what is saved meanwhile is sent the next time. If a mirror is slower than the saves,
                the best checkpoint would else never have its turn, and nothing would be deleted.
        """
        self._go_on()
        wanted = to_send(self._wishes, self._lost.left_of(writer.catalog), self._run.records(), now)
        fresh = (one for one in wanted if (one[0].id, one[0].digest) not in self._skipped)
        return next((one for one in fresh if one[0].id <= newest), None)

    def _send(self, writer: MirrorWriter, record: Record, needed: Contents) -> bool:
        """Send one checkpoint, and return whether it is there."""
        begun = time.monotonic()
        try:
            sent, parts = self._sending.send_as(self._run.manifest.layout, record, needed)
        except (FileNotFoundError, VerifyError) as error:
            now = next((one for one in self._run.records() if one.id == record.id), None)
            if now is not None and (now.digest, now.file) == (record.digest, record.file):
                self._skipped.add((record.id, record.digest))
                log.warning("%s: is not sent to %s: %s", record.path, self.url, first_line(error))
            return False
        writer.commit(sent, parts)
        writer.remove(self._lost.replaced_in(writer.catalog))
        self._move()
        self.notes.note_status(record=record.id, file=record.file, time=time.time(), error="")
        log.info("%s: %s is there, after %.1f s", self.url, record.file, time.monotonic() - begun)
        return True

    def _remove(self, writer: MirrorWriter, now: Sequence[Record]) -> None:
        doomed = []
        if self._run.may_delete():
            doomed = to_remove(self._wishes, self._lost.left_of(writer.catalog), now)
            if self._lost:  # what has gone keeps nothing else there, and goes if no rule wants it
                known = records_now(writer.catalog, self._run.known)
                doomed += self._lost.of(to_remove(self._wishes, writer.catalog, known))
        if doomed:
            used = ids_in_use(self._store)
            doomed = [entry for entry in doomed if entry.record.id not in used]
        writer.remove(doomed)

    def _say(self, error: Exception) -> None:
        """Log a failure once, until it is another one or is over."""
        text = first_line(error)
        self.notes.note_status(error=text, failed=time.time())
        is_outage = isinstance(error, MirrorUnreachable)
        if text == self._problem or (self._problem and is_outage and self._is_outage):
            return  # one outage may begin with a reset, and go on with a time-out
        self._problem, self._is_outage = text, is_outage
        where = "" if text.startswith(self.url) else f"{self.url}: "
        later = "; checkpoints stay here, and are sent later" if isinstance(error, MirrorUnreachable) else ""
        log.warning("%s%s%s", where, text, later)

    def _say_recovered(self) -> None:
        if self._problem:
            log.warning("%s: answers again; all checkpoints that it is to hold are there", self.url)
            self._problem = ""
            self.notes.note_status(error="")
