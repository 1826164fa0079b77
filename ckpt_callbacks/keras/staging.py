"""Takes a model's state in a moment, to be written while training goes on."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from ..errors import NotEnoughMemory, first_line
from ..formats import Written
from ..formats.keras import archive as keras_zip
from ..formats.keras.refusal import one_line
from ..formats.keras.suffix import KERAS, LEGACY
from ..memory.arena import Arena
from ..memory.pages import round_up
from ..memory.pool import ArenaPool
from ..run.snapshot import LiveSnapshot, Snapshot
from .embedded import Carried
from .model import config_json as configuration
from .model.copy import copy
from .model.parts import optimizers, shapes
from .model.save import embedded_for, save

try:
    from ..formats.keras.writer import FileWriter, KerasFile
    from .model.walk import Walk, config_of, walk
except (AttributeError, ImportError) as error:  # parts of Keras that it does not promise to keep
    _UNKNOWN: str | None = f"Keras {keras.__version__} is not as expected inside: {first_line(error)}"
else:
    _UNKNOWN = None

log = logging.getLogger("ckpt_callbacks")


class KerasStaging:
    """The memory that one callback copies models into, and the writer of what is in it.

    Args:
        staging: ``"memory"``: copy the state. ``"none"``: copy nothing; training waits until a file is written.
    """

    def __init__(self, staging: str = "memory") -> None:
        self._copies = staging == "memory"
        self._writer = FileWriter() if _UNKNOWN is None else None
        self._arenas = ArenaPool(Arena)
        self._said = False
        self._with_config: bool | None = None  # Keras can write the model's configuration; None: nobody asked yet

    def prepare(self, size: int, suffix: str) -> None:
        """Do on any thread what the first snapshot would take longest for.

        Args:
            size: Bytes of memory to get; see `expected_size`. suffix: of the files to come.
        """
        if suffix == KERAS:
            # Whatever the backend, Keras imports TensorFlow, if it is there, to make JSON of the first object.
            keras.saving.serialize_keras_object(keras.initializers.Zeros())
        self._arenas.prepare(size)

    def expected_size(self, model: keras.Model, suffix: str) -> int:
        """Bytes that an arena needs for a snapshot of a model; 0 where none will be taken.

        Args:
            model: The model; of an optimizer that is not built yet nothing is known. suffix: of the files to come.
        """
        if not self._copies or self._why_live(model, suffix) is not None:
            return 0
        try:
            found = _walk(model, suffix)
        except Exception:  # `stage` meets it again, and says so
            return 0
        return sum(round_up(entry.nbytes) for group in found.groups for entry in group.entries)

    def stage(self, model: keras.Model, suffix: str, carried: Carried) -> Snapshot:
        """A copy of the model's state and of what goes into the file with it.

        Args:
            model: The model; on JAX, its variables are in step with the training. suffix: of the file. carried: ours.
        """
        with_config = self._has_config(model, suffix)
        if not self._copies:
            return LiveSnapshot(lambda path: Written(save(model, path, carried, with_config=with_config)))
        if (why := self._why_live(model, suffix)) is not None:
            return self._live_because(why, model, carried, with_config)
        arena = self._arenas.take()
        try:
            try:
                content = _content(model, suffix, carried, arena, with_config)
                return _Copied(content, self._writer, arena, self._arenas)
            except BaseException:
                self._arenas.give_back(arena)
                raise
        except NotEnoughMemory as error:
            return self._live_because(str(error), model, carried, with_config)
        except Exception as error:  # Keras' private parts are not as they were, or the model's own code raises
            why = f"its state cannot be copied: {first_line(error)}"
            return self._live_because(why, model, carried, with_config)

    def release(self) -> None:
        """Give all memory back, also that of snapshots that are released later."""
        self._arenas.release()
        self._with_config = None  # another model may come

    def _has_config(self, model: keras.Model, suffix: str) -> bool:
        """Says once where Keras cannot write the model's configuration; asked of its own files alone."""
        if suffix != KERAS or not _saves_as_keras(model):
            return True
        if self._with_config is None:
            problem = configuration.problem(model)
            self._with_config = problem is None
            if problem is not None:
                log.warning(
                    "KerasCheckpoint: the configuration of %r cannot be saved: %s; a run resumes without it, and "
                    "load_weights() reads the files, but load_model() does not: write get_config() for that",
                    model.name, one_line(problem),
                )  # fmt: skip
        return self._with_config

    def _why_live(self, model: keras.Model, suffix: str) -> str | None:
        if suffix == LEGACY:
            return "the legacy .h5 format cannot be written in the background"
        if suffix == KERAS and not _saves_as_keras(model):
            return f"{type(model).__name__}.save is not Keras' own"
        return _UNKNOWN if model.built or model.weights else "the model is not built"

    def _live_because(self, why: str, model: keras.Model, carried: Carried, with_config: bool) -> Snapshot:
        def written(path: Path) -> Written:
            found = Written(save(model, path, carried, with_config=with_config))
            if not self._said:  # after the save, because a model that cannot be saved at all is another matter
                self._said = True
                log.warning("KerasCheckpoint: training waits while %r is written: %s", model.name, why)
            return found

        return LiveSnapshot(written)


@dataclass
class _Copied:
    """A snapshot in an arena."""

    content: KerasFile | None
    writer: FileWriter
    arena: Arena
    home: ArenaPool
    live: bool = field(default=False, init=False)

    def write(self, path: Path) -> Written:
        assert self.content is not None, "it was released"
        return self.writer.write(self.content, path)

    def release(self) -> None:
        self.content = None  # the views of the arena's memory go before it does
        self.home.give_back(self.arena)


def _saves_as_keras(model: keras.Model) -> bool:
    return type(model).save.__module__.startswith("keras.src.")


def _walk(model: keras.Model, suffix: str) -> Walk:
    full = suffix == KERAS
    return walk(model, skip=() if full else optimizers(model), assets=full)


def _content(model: keras.Model, suffix: str, carried: Carried, arena: Arena, with_config: bool) -> KerasFile:
    found = _walk(model, suffix)
    entries = [entry for group in found.groups for entry in group.entries]
    data = arena.carve([entry.nbytes for entry in entries])
    arrays = [np.ndarray(entry.shape, entry.dtype, view) for entry, view in zip(entries, data, strict=True)]
    copy(found.values, arrays)
    facts = embedded_for(suffix, carried)
    parts: dict[str, object] = {}
    if suffix == KERAS:
        config, metadata = config_of(model) if with_config else configuration.stand_in(model)
        metadata = keras_zip.merge(metadata, facts)
        parts["before"] = ((keras_zip.METADATA, metadata.encode()), (configuration.MEMBER, config.encode()))
        parts["after"] = tuple((f"assets/{name}", content) for name, content in found.assets)
    else:
        parts["facts"] = json.dumps(facts).encode()
    return KerasFile(model.name, shapes(model), found.groups, arrays, data, **parts)
