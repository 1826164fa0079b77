"""Takes a model's state in a moment, to be written while training goes on."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from ..errors import NotEnoughMemory, first_line
from ..formats import keras_zip
from ..snapshot import LiveSnapshot, Snapshot, Written
from ..store.arena import Arena
from ..store.pages import rounded
from . import files
from .carried import Carried
from .copying import copy

try:
    from .recording import Recording, config_of, record
    from .writing import Content, FileWriter
except (AttributeError, ImportError) as error:  # parts of Keras that it does not promise to keep
    _UNKNOWN: str | None = f"Keras {keras.__version__} is not as expected inside: {first_line(error)}"
else:
    _UNKNOWN = None

log = logging.getLogger("ckpt_callbacks")


class KerasStaging:
    """The memory that one callback copies models into, and the writer of what is in it.

    There is one arena for each snapshot that waits to be written; it is used again once that is done.

    Args:
        staging: ``"memory"``: copy the state. ``"none"``: copy nothing; training waits until a file is written.
    """

    def __init__(self, staging: str = "memory") -> None:
        self._copies = staging == "memory"
        self._writer = FileWriter() if _UNKNOWN is None else None
        self._lock = threading.Lock()
        self._free: list[Arena] = []
        self._open = True  # arenas that come back are kept
        self._preparing: threading.Thread | None = None
        self._said = False

    def prepare(self, model: keras.Model, suffix: str) -> None:
        """Get the memory for one snapshot, in a thread; the first one would spend more time on that than on copying.

        Args:
            model: The model; of an optimizer that is not built yet nothing is known. suffix: of the files to come.
        """
        if self._why_live(model, suffix) is not None or not self._copies or self._free:
            return
        try:
            recording = _record(model, suffix)
        except Exception:  # `stage` meets it again, and says so
            return
        sizes = [entry.nbytes for group in recording.groups for entry in group.entries]
        size = sum(map(rounded, sizes))
        self._open = True
        self._preparing = threading.Thread(target=self._reserve, args=(size,), daemon=True)
        self._preparing.start()

    def stage(self, model: keras.Model, suffix: str, carried: Carried) -> Snapshot:
        """A copy of the model's state and of what goes into the file with it.

        Args:
            model: The model; on JAX, its variables are in step with the training. suffix: of the file. carried: ours.
        """
        if not self._copies:
            return _live(model, carried)
        if (why := self._why_live(model, suffix)) is not None:
            return self._live_because(why, model, carried)
        self._wait()
        self._open = True
        try:
            arena = self._free.pop() if self._free else Arena()
            try:
                return _Copied(_content(model, suffix, carried, arena), self._writer, arena, self)
            except BaseException:
                self.take_back(arena)
                raise
        except NotEnoughMemory as error:
            return self._live_because(str(error), model, carried)
        except Exception as error:  # Keras' private parts are not as they were, or the model's own code raises
            return self._live_because(f"its state cannot be copied: {first_line(error)}", model, carried)

    def take_back(self, arena: Arena) -> None:
        """The arena of a snapshot is free again."""
        with self._lock:
            if self._open:
                self._free.append(arena)
            else:
                arena.release()

    def release(self) -> None:
        """Give the memory back: all that is free now, and the rest as soon as it is."""
        self._wait()
        with self._lock:
            self._open = False
            for arena in self._free:
                arena.release()
            self._free.clear()

    def _reserve(self, size: int) -> None:
        arena = Arena()
        try:
            arena.reserve(size)
        except NotEnoughMemory:
            return  # `stage` tries again, and says so
        self.take_back(arena)

    def _wait(self) -> None:
        if self._preparing is not None:
            self._preparing.join()
            self._preparing = None

    def _why_live(self, model: keras.Model, suffix: str) -> str | None:
        if suffix == files.LEGACY:
            return "the legacy .h5 format cannot be written in the background"
        if suffix == files.KERAS and not type(model).save.__module__.startswith("keras.src."):
            return f"{type(model).__name__}.save is not Keras' own"
        return _UNKNOWN if model.built else "the model is not built"

    def _live_because(self, why: str, model: keras.Model, carried: Carried) -> Snapshot:
        def written(path: Path) -> Written:
            found = Written(files.save(model, path, carried))
            if not self._said:  # after the save, because a model that cannot be saved at all is another matter
                self._said = True
                log.warning("KerasCheckpoint: training waits while %r is written: %s", model.name, why)
            return found

        return LiveSnapshot(written)


@dataclass
class _Copied:
    """A snapshot in an arena."""

    content: Content | None
    writer: FileWriter
    arena: Arena
    home: KerasStaging
    live: bool = field(default=False, init=False)

    def write(self, path: Path) -> Written:
        assert self.content is not None, "it was released"
        return self.writer.write(self.content, path)

    def release(self) -> None:
        self.content = None  # the views of the arena's memory go before it does
        self.home.take_back(self.arena)


def _live(model: keras.Model, carried: Carried) -> Snapshot:
    return LiveSnapshot(lambda path: Written(files.save(model, path, carried)))


def _record(model: keras.Model, suffix: str) -> Recording:
    full = suffix == files.KERAS
    return record(model, skip=() if full else files.optimizers(model), assets=full)


def _content(model: keras.Model, suffix: str, carried: Carried, arena: Arena) -> Content:
    recording = _record(model, suffix)
    entries = [entry for group in recording.groups for entry in group.entries]
    data = arena.carve([entry.nbytes for entry in entries])
    arrays = [np.ndarray(entry.shape, entry.dtype, view) for entry, view in zip(entries, data, strict=True)]
    copy(recording.values, arrays)
    parts: dict[str, object] = {}
    if suffix == files.KERAS:
        config, metadata = config_of(model)
        metadata = json.dumps(json.loads(metadata) | {keras_zip.KEY: carried.to_json()})
        parts["before"] = ((keras_zip.METADATA, metadata.encode()), ("config.json", config.encode()))
        parts["after"] = tuple((f"assets/{name}", content) for name, content in recording.assets)
    else:
        parts["facts"] = json.dumps({"record": carried.record}).encode()
    return Content(model.name, files.shapes(model), recording.groups, arrays, data, **parts)
