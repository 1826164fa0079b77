"""Copies of a model's state in reused host memory, to be written while training continues."""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from ..errors import NotEnoughMemory, first_line
from ..formats import Written
from ..formats.finite import all_finite
from ..formats.keras import archive as keras_zip
from ..formats.keras.suffix import KERAS, LEGACY
from ..formats.keras.unsupported import one_line
from ..memory.pages import round_up
from ..memory.pool import ArenaPool
from ..run.snapshot import LiveSnapshot, Snapshot
from .embedded import FitState
from .held_arrays import HeldArrays
from .model import config_json
from .model.copy import copy
from .model.objects import forget, unchanged
from .model.save import embedded_for, save
from .model_memory import ModelMemory
from .weights import weights_are_finite

try:
    from ..formats.keras.own_arrays import OwnArrays
    from ..formats.keras.writer import FileWriter, KerasFile
    from .model.configuration import configuration
    from .model.file_plan import file_plan
    from .model.structure import ModelStructure
except (AttributeError, ImportError) as error:  # Keras makes no promise that these parts are stable
    _UNKNOWN: str | None = f"the internals of Keras {keras.__version__} are not as expected: {first_line(error)}"
else:
    _UNKNOWN = None

log = logging.getLogger("ckpt_callbacks")


class KerasStaging:
    """The memory that one callback copies models into, and the writer of its files.

    Args:
        staging: ``"memory"`` to copy the state, ``"none"`` to copy nothing and wait until each file is written.
        background: Whether files are written while training runs.
    """

    def __init__(self, staging: str = "memory", *, background: bool = True) -> None:
        self._copies, self._background = staging == "memory", background
        self._writer = FileWriter() if _UNKNOWN is None else None
        self._arenas = ArenaPool(ModelMemory)
        self._warned = False
        self._with_config: bool | None = None  # whether Keras can write the configuration; None if unknown
        self._structure: ModelStructure | None = None  # of the model that was copied last

    def unchanged(self, model: keras.Model) -> AbstractContextManager[None]:
        """Return a block in which the model must not change. Results that depend on its structure are kept for later.

        Args:
            model: The model.
        """
        return unchanged(lambda: self._known(model))

    def prepare(self, size: int) -> None:
        """Begin to allocate the memory of the first snapshot.

        Args:
            size: The bytes to allocate for one snapshot; see `expected_size`.
        """
        self._arenas.prepare(size)

    def expected_size(self, model: keras.Model, suffix: str, arrays: int = 0) -> int:
        """Return the number of bytes that an arena needs for a snapshot of a model; 0 if nothing will be copied.

        Args:
            model: The model. An optimizer that is not built yet has no state, and adds nothing.
            suffix: The suffix of the files.
            arrays: The expected size in bytes of the arrays of other callbacks.
        """
        if not self._copies or self._why_live(model, suffix) is not None:
            return 0
        try:
            plan = file_plan(model, suffix)
            if suffix == KERAS:
                configuration(model)
        except Exception:  # `stage` fails in the same way, and logs it
            return 0
        return sum(map(round_up, plan.sizes)) + round_up(arrays)

    def stage(self, model: keras.Model, suffix: str, state: FitState) -> Snapshot:
        """Copy a model's state, so that later changes do not affect what is written.

        Args:
            model: The model. On JAX, its variables must be up to date.
            suffix: The suffix of the file.
            state: The state to embed in the file.

        Returns:
            The snapshot; a live one if the model cannot be copied, or no copy was requested.
        """
        if not self._copies:
            with_config = self._has_config(model, suffix)
            return LiveSnapshot(lambda path: _written(model, path, state, with_config))
        if (why := self._why_live(model, suffix)) is not None:
            return self._live_because(why, model, suffix, state)
        try:
            with self.unchanged(model):
                return self._staged(model, suffix, state)
        except NotEnoughMemory as error:
            why = str(error)
        except Exception as error:  # Keras' internals have changed, or the model's own code raises
            why = f"its state cannot be copied: {first_line(error)}"
        return self._live_because(why, model, suffix, state)

    def copied(self, model: keras.Model, suffix: str) -> Snapshot | None:
        """Copy a model's state for a file exactly as Keras writes it, without any data of this package.

        Args:
            model: The model. On JAX, its variables must be up to date.
            suffix: The suffix of the file.

        Returns:
            None if the model cannot be copied, so that only Keras can write the file.
        """
        method = "save" if suffix == KERAS else "save_weights"
        if not is_of_keras(model, method) or self._why_live(model, suffix) is not None:
            return None
        try:
            with self.unchanged(model):
                if suffix == KERAS and configuration(model).problem is not None:
                    return None
                return self._staged(model, suffix, None)
        except Exception:  # as in `stage`; where Keras fails as well, its own error is what a script expects
            return None

    def _staged(self, model: keras.Model, suffix: str, state: FitState | None) -> Snapshot:
        arena = self._arenas.take()
        with ExitStack() as stack:
            stack.callback(self._arenas.give_back, arena)
            assert self._writer is not None  # otherwise the snapshot is live
            try:
                content, own = _content(model, suffix, state, arena)
            except _Changed:  # the variables that the user's own code stores depend on more than its attributes
                forget()
                content, own = _content(model, suffix, state, arena)
            if suffix == KERAS:
                self._warn_without_config(model, configuration(model).problem)
            snapshot = _Staged(content, own, self._writer, arena, self._arenas)
            stack.pop_all()  # from here on, the snapshot releases the arena
            return snapshot

    def _known(self, model: keras.Model) -> dict[Any, Any]:
        """Return the results that depend on the structure of a model, as far as they are known."""
        if _UNKNOWN is not None:
            return {}
        try:
            if self._structure is None or not self._structure.is_of(model) or not self._structure.is_current():
                self._structure = None  # first, so that the objects of the old and the new one are never held together
                self._structure = ModelStructure(model)
        except Exception:  # the model's own code raises; the caller that needs its result reports it
            self._structure = None
            return {}
        return self._structure.facts

    def release(self) -> None:
        """Release all memory, including that of snapshots that are released later."""
        self._arenas.release()
        self._with_config, self._warned, self._structure = None, False, None  # the next model may be a different one

    def _has_config(self, model: keras.Model, suffix: str) -> bool:
        """Return whether Keras can write the model's configuration, which ``.keras`` files hold. Log once if not."""
        if suffix != KERAS or not _saves_as_keras(model):
            return True
        if self._with_config is None:
            self._warn_without_config(model, config_json.problem(model))
        return bool(self._with_config)

    def _warn_without_config(self, model: keras.Model, problem: Exception | None) -> None:
        if problem is not None and self._with_config is not False:
            log.warning(
                "KerasCheckpoint: the configuration of %r cannot be saved: %s; a run can resume without it, and "
                "load_weights() can read the files; to use load_model(), implement get_config()",
                model.name, one_line(problem),
            )  # fmt: skip
        self._with_config = problem is None

    def _why_live(self, model: keras.Model, suffix: str) -> str | None:
        if suffix == LEGACY:
            return "the legacy .h5 format cannot be written in the background"
        if suffix == KERAS and not _saves_as_keras(model):
            return f"{type(model).__name__}.save is not Keras' own"
        return _UNKNOWN if model.built or model.weights else "the model is not built"

    def _live_because(self, why: str, model: keras.Model, suffix: str, state: FitState) -> Snapshot:
        with_config = self._has_config(model, suffix)

        def written(path: Path) -> Written:
            found = _written(model, path, state, with_config)
            if self._background and not self._warned:  # after the save, because a failed save reports its own error
                self._warned = True
                log.warning("KerasCheckpoint: training waits while %r is written: %s", model.name, why)
            return found

        return LiveSnapshot(written)


@dataclass
class _Staged:
    """A snapshot in an arena."""

    content: KerasFile | None
    own: OwnArrays | None
    writer: FileWriter
    arena: ModelMemory
    home: ArenaPool[ModelMemory]
    live: bool = field(default=False, init=False)

    def write(self, path: Path) -> Written:
        assert self.content is not None, "the snapshot was released"
        if self.own is not None:
            self.content, self.own = self.content.with_arrays(self.own), None
        return replace(self.writer.write(self.content, path), finite=all_finite(self.content.trained))

    def release(self) -> None:
        self.content = self.own = None  # views of the arena's memory must be dropped first
        self.home.give_back(self.arena)


def _written(model: keras.Model, path: Path, state: FitState, with_config: bool) -> Written:
    """Have Keras write the file, on the thread that trains."""
    tensors = save(model, path, state, with_config=with_config)
    return Written(tensors, finite=weights_are_finite(model))


def _saves_as_keras(model: keras.Model) -> bool:
    return type(model).save.__module__.startswith("keras.src.")


def is_of_keras(model: keras.Model, method: str) -> bool:
    """Return whether a method of a model is Keras' own, so that it is known what it writes.

    Args:
        model: The model.
        method: The name of the method.
    """
    return method not in vars(model) and getattr(type(model), method).__module__.startswith("keras.src.")


class _Changed(Exception):
    """The objects of a model store different variables at each call."""

    def __str__(self) -> str:
        return "its layers store different variables at each save"


def _content(
    model: keras.Model, suffix: str, state: FitState | None, arena: ModelMemory
) -> tuple[KerasFile, OwnArrays | None]:
    """Return the contents of a file, and the arrays of the state that must still be added to them.

    Args:
        model: The model.
        suffix: The suffix of the file.
        state: The state to embed; None for a file that holds just what Keras writes.
        arena: The memory for a copy of the model.
    """
    plan, held = file_plan(model, suffix, state is None), HeldArrays()
    values = plan.found.current_values()
    if values is None:
        raise _Changed
    facts = None if state is None else embedded_for(suffix, state, held)
    places = arena.places(plan, held.nbytes)
    copy(values, places.targets)
    held.copy_into(places.own)
    arrays, data, trained = [target.array for target in places.targets], places.data, places.trained
    groups, tensors = plan.found.groups, plan.tensors
    if suffix != KERAS:
        text = b"" if facts is None else json.dumps(facts).encode()
        return KerasFile(model.name, tensors, groups, arrays, data, facts=text, trained=trained), None
    config = configuration(model)
    metadata = config.dated()
    if facts is not None:
        metadata = keras_zip.merge(metadata, {**facts, keras_zip.OPTIMIZERS: plan.found.optimizers})
    before = ((keras_zip.METADATA, metadata.encode()), (config_json.MEMBER, config.text()))
    after = tuple((f"assets/{name}", content) for name, content in plan.found.assets())
    content = KerasFile(model.name, tensors, groups, arrays, data, before, after, trained=trained)
    return content, OwnArrays(places.own, held.sizes) if held else None
