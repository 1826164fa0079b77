"""The way of one checkpoint's bytes into a store."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MirrorDamaged, MirrorError, MirrorUnreachable, VerifyError
from ..policy.contents import Contents
from ..record import Record
from ..remote.checksums import checksum_of_file
from ..remote.object_store import ObjectFacts, ObjectStore
from ..remote.rate import RateLimit
from ..remote.sample import compare_sample
from ..remote.upload import PART, Upload
from ..store.digest import digest, digest_of_open, files_below
from ..store.layout import Layout
from .catalog import Part
from .keys import checkpoint_key
from .notes import Notes
from .source import reduced_copy
from .wanted import reduced

_SAMPLES = 6  # pieces that are read back where the store has no checksum
_OFTEN = 3  # times that one file may be sent, or prepared, before that counts as a repetition


class Sending:
    """Sends checkpoints to one store, one after the other.

    Args:
        store: The store.
        notes: Keeps what a later process needs to continue.
        rate: Bytes per second; None for no limit.
        go_on: Called again and again, on any thread; it may raise an exception to end the upload.
        moved: Called with the number of bytes that have arrived, on any thread; with 0 for each pause that the rate
            asks for.
        part: Bytes of a part.
    """

    def __init__(
        self,
        store: ObjectStore,
        notes: Notes,
        rate: int | None,
        go_on: Callable[[], object],
        moved: Callable[[int], object],
        part: int = PART,
    ) -> None:
        self._store, self._notes, self._go_on, self._moved, self._part = store, notes, go_on, moved, part
        self._limit = RateLimit(rate, go_on if rate is None else lambda: self._arrived(0))
        self._key, self._size = "", 0  # of the object that is under way
        self._begun, self._works = Counter[str](), Counter[str]()  # bytes by key; what was prepared since bytes arrived
        self._whole: dict[str, str] = {}  # the versions of objects that this process has sent, and the store has kept

    @property
    def repeats(self) -> bool:
        """Whether the file under way was begun several times, because the end of its upload fails again and again."""
        return self._begun[self._key] > _OFTEN * self._size

    def send_as(self, layout: Layout, record: Record, needed: Contents) -> tuple[Record, tuple[Part, ...]]:
        """Send a checkpoint with no more than is needed of it. Raises as `send` does.

        Args:
            layout: The paths of its run directory.
            record: Its record.
            needed: What the mirror needs of it.

        Returns:
            Its record as it is in the mirror, and where its bytes are.
        """
        smaller = reduced(record, needed)
        if smaller is None:
            sent, parts = record, self.send(record, record.path)
        else:
            moves = self._locally(f"copy of {record.digest}")
            with reduced_copy(layout, record, smaller, moves) as (sent, path):
                parts = self.send(sent, path)
        return sent.replace(replacement={}, identity=""), parts

    def send(self, record: Record, path: Path) -> tuple[Part, ...]:
        """Send all bytes of a checkpoint, compare them with its digest, and return where they are.

        It may be deleted, or replaced by a smaller one, meanwhile: its bytes are those that it has now.

        Args:
            record: Its record.
            path: Its file or folder.

        Raises:
            FileNotFoundError: It is gone.
            MirrorError: The store refuses it, or does not answer.
            VerifyError: It does not match its digest.
        """
        if not path.is_dir():
            return (self._send_file(record, path, "", record.digest),)
        found, _ = digest(path, progress=self._locally(record.digest))
        if found != record.digest:
            raise VerifyError(f"{path}: its bytes changed: digest is {found}; the manifest says {record.digest}")
        files = sorted(files_below(path))
        return tuple(self._send_file(record, file, file.relative_to(path).as_posix(), "") for file in files)

    def _send_file(self, record: Record, path: Path, inside: str, expected: str) -> Part:
        key = checkpoint_key(record.digest, record.file, inside)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            self._key, self._size = key, size
            there = self._store.stat(key)
            with self._compared(descriptor, path, expected):
                upload = self._upload(key, descriptor, size)
                if there is None or not self._is_whole(there, upload):
                    there = self._sent(upload)
        finally:
            os.close(descriptor)
        self._key = ""
        self._begun.pop(key, None)
        self._notes.note_upload(key, {})
        return Part(key, size, inside, there.checksum)

    def forget(self) -> None:
        """Delete what has arrived of uploads that nobody will finish. To be called when all that is wanted is there."""
        self._whole.clear()
        for key in sorted(self._notes.uploads):
            try:
                self._store.delete([one for one in self._store.list(key, unfinished=True) if one.key == key])
            except MirrorUnreachable:
                return  # it is tried again later
            except MirrorError:  # without the right to list or to delete, all else goes on
                pass
            self._notes.note_upload(key, {})

    def _is_whole(self, there: ObjectFacts, upload: Upload) -> bool:
        """Return whether an object has the bytes of a file: by its checksum, or because this process has sent them."""
        if there.size != upload.size:
            return False
        if there.checksum and (own := checksum_of_file(there.checksum, upload)):
            return own == there.checksum
        return self._whole.get(there.key) == there.version

    def _sent(self, upload: Upload) -> ObjectFacts:
        key = upload.key
        self._whole.pop(key, None)
        there = self._store.upload(upload)
        if not there.checksum:
            there = self._store.stat(key) or there
        if there.size != upload.size:
            raise MirrorDamaged(f"{self._store.url}/{key}: has {there.size} bytes; {upload.size} were sent")
        if not there.checksum:
            self._read_back(there, upload)
        self._whole[key] = there.version
        return there

    def _upload(self, key: str, descriptor: int, size: int) -> Upload:
        return Upload(
            key, descriptor, size, self._notes.upload(key), lambda state: self._notes.note_upload(key, state),
            self._arrived, self._before, self._part, read=self._locally(f"checksum of {key}"),
        )  # fmt: skip

    def _before(self, count: int) -> None:
        self._begun[self._key] += count
        self._limit.wait(count)

    def _arrived(self, count: int) -> None:
        if count:
            self._works.clear()
        self._moved(count)
        self._go_on()

    def _locally(self, work: str) -> Callable[[int], None]:
        """Return what is to be called again and again while work is done on this machine, which is movement.

        It is none any more if it is done several times, and nothing arrives: else the end of a run could last forever.
        """
        self._works[work] += 1
        counts = self._works[work] <= _OFTEN

        def moves(_: int) -> None:
            if counts:
                self._moved(0)
            self._go_on()

        return moves

    def _read_back(self, there: ObjectFacts, upload: Upload) -> None:
        """Compare some bytes, because the store has no checksum."""
        where = f"{self._store.url}/{there.key}"

        def read(start: int, length: int) -> bytes:
            self._go_on()
            try:
                return self._store.read(there.key, start, length)[0]
            except FileNotFoundError:  # not of the file here, which would count as deleted
                raise MirrorUnreachable(f"{where}: is gone; it is sent again") from None

        compare_sample(upload, where, read, _SAMPLES)

    @contextmanager
    def _compared(self, descriptor: int, path: Path, expected: str) -> Iterator[None]:
        """Compute the digest of an open file meanwhile, and raise `VerifyError` at the end if it is another one."""
        if not expected:
            yield
            return
        found: list[str] = []
        own = os.dup(descriptor)  # it may be closed before the thread ends
        moves, is_over = self._locally(expected), threading.Event()

        def moves_on(count: int) -> None:
            if is_over.is_set():  # the upload has failed
                raise InterruptedError
            moves(count)

        def compute() -> None:
            try:
                found.append(digest_of_open(own, moves_on))
            except BaseException as error:
                found.append(f"not known ({error})")
            finally:
                os.close(own)

        thread = threading.Thread(target=compute, name="ckpt_callbacks-digest", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            is_over.set()
            raise
        thread.join()
        self._go_on()  # the thread may have ended because of it
        if found != [expected]:
            raise VerifyError(f"{path}: its bytes changed: digest is {found[0]}; the manifest says {expected}")
