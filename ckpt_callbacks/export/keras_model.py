"""The model of a Keras file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import ExportError, first_line
from ..formats.keras import embedded
from ..formats.keras.suffix import LEGACY, WEIGHTS
from .checkpoint import Checkpoint
from .given import Arrays
from .left_out import LeftOut

_BATCH = 2
_LONGEST = 300  # characters of a message of Keras


class KerasModel:
    """A Keras model with the weights of a checkpoint.

    Attributes:
        model: The model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    @classmethod
    def load(cls, checkpoint: Checkpoint, given: Any, *, has_code: bool) -> KerasModel:
        """Load a checkpoint.

        Args:
            checkpoint: The checkpoint.
            given: A function that returns the model, or a model, which is copied. None to build it from the file.
            has_code: Whether the user has given the model, or the module that registers its layers.

        Raises:
            ExportError: Keras cannot build the model, or the weights do not fit it.
        """
        path = checkpoint.path
        if given is None and path.name.endswith(WEIGHTS):
            raise ExportError(
                f"{path}: holds the weights, but no model; expected --model package.module:function, which returns the "
                "model (in Python, model=...)"
            )
        left_out = LeftOut.of(embedded.read(path))
        if given is None and left_out:
            raise ExportError(
                f"{path}: lacks {left_out}, which a rule has left out; expected --model "
                "package.module:function, which returns a model that has them (in Python, model=...)"
            )
        how: dict[str, bool] = {"skip_mismatch": True} if left_out else {}
        if left_out and path.suffix == LEGACY and not path.name.endswith(WEIGHTS):
            how["by_name"] = True
        try:
            if given is None:
                return cls(keras.models.load_model(path, compile=False))
            model = _copied(given) if isinstance(given, keras.Model) else given()
            model.load_weights(path, **how)
        except Exception as error:  # Keras and the model's own code raise all kinds of errors
            expected = _expected(given, has_code=has_code)
            raise ExportError(f"{path}: Keras cannot load it: {_said(error)}; expected {expected}") from error
        if left_out:
            left_out.warn(checkpoint.known_as)
        if not isinstance(model, keras.Model):
            raise ExportError(f"--model returned {type(model).__name__}; expected a keras.Model")
        return cls(model)

    @classmethod
    def load_again(cls, path: Path) -> KerasModel:
        """Load an exported file.

        Raises:
            ExportError: Keras cannot build the model from it.
        """
        try:
            return cls(keras.models.load_model(path, compile=False))
        except Exception as error:  # Keras raises all kinds of errors
            raise ExportError(
                f"{path}: was not written: Keras cannot load it again: {_said(error)}; expected a model that Keras can "
                "build from this kind of file, or another kind"
            ) from error

    @property
    def inputs(self) -> Any:
        """The symbolic inputs, in the structure in which the model takes them; None if they are not known."""
        try:
            found = self.model.inputs if isinstance(self.model, keras.Sequential) else self.model.input
        except (AttributeError, ValueError):  # a model that was never called, or of the user's own class
            return None
        return found[0] if isinstance(found, list) and len(found) == 1 else found

    @property
    def names(self) -> list[str]:
        """The names of the inputs, in order."""
        return [entry.name for entry in keras.tree.flatten(self.inputs)] if self.inputs is not None else []

    def sample(self, given: Any) -> Any:
        """Return sample inputs in the structure that the model takes: the given ones, or random ones.

        Args:
            given: What was given; None for nothing.

        Raises:
            ExportError: They are missing and cannot be made up, or the model fails on them.
        """
        inputs = self.inputs
        if isinstance(given, Arrays):
            made = self._arranged(given)
        elif given is not None:
            made = keras.tree.map_structure(np.asarray, given)
        elif inputs is None:
            raise ExportError(
                f"the inputs of {self.model.name} are not known; expected --inputs FILE.npz (in Python, inputs=...)"
            )
        else:
            random = np.random.default_rng(0)
            made = keras.tree.map_structure(lambda entry: _random(entry, random), inputs)
        try:
            self.outputs(made)
        except Exception as error:
            shapes = ", ".join(f"{x.shape} {x.dtype}" for x in keras.tree.flatten(made))
            raise ExportError(f"{self.model.name} fails with {shapes}: {_said(error)}") from error
        return made

    def outputs(self, inputs: Any) -> list[np.ndarray]:
        """Return what the model computes."""
        found = keras.tree.flatten(self.model(inputs, training=False))
        return [np.asarray(keras.ops.convert_to_numpy(output)) for output in found]

    def weights(self) -> dict[str, np.ndarray]:
        """Return the weights by their paths, without the states of random layers.

        Raises:
            ExportError: Two of them have the same path.
        """
        found = {weight.path: keras.ops.convert_to_numpy(weight) for weight in self.model.weights}
        if len(found) < len(self.model.weights):
            raise ExportError(f"{self.model.name} has two weights of one path; expected layers with names of their own")
        return found

    def _arranged(self, arrays: Arrays) -> Any:
        """Return the arrays of a file in the structure of the inputs."""
        inputs, values = self.inputs, list(arrays.values())
        if inputs is None:
            return values[0] if len(values) == 1 else values
        names = self.names
        if set(names) != set(arrays) and len(names) != len(values):
            raise ExportError(f"the inputs are {', '.join(arrays) or 'empty'}; expected {', '.join(names)}")
        ordered = [arrays[name] for name in names] if set(names) == set(arrays) else values
        kinds = [entry.dtype for entry in keras.tree.flatten(inputs)]
        cast = [value.astype(kind) for value, kind in zip(ordered, kinds, strict=True)]
        return keras.tree.pack_sequence_as(inputs, cast)


def _expected(given: Any, *, has_code: bool) -> str:
    """Return what to give so that Keras can load a checkpoint; the arguments are those of `KerasModel.load`."""
    if given is not None:
        return "the model that wrote it"
    if has_code:
        return "a module that registers all of its layers"
    return "the code of its layers, as in --model package.module, which registers them (in Python, model=...)"


def _said(error: Exception) -> str:
    """Return what Keras says, in one line that is not too long."""
    return first_line(error)[:_LONGEST]


def _copied(model: keras.Model) -> keras.Model:
    """Return a copy, so that the caller's own model stays as it is."""
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made


def resized(inputs: Any, batch: int) -> Any:
    """Return sample inputs with another size of the batch, made of their own rows."""
    return keras.tree.map_structure(lambda x: x[np.arange(batch) % len(x)], inputs)


def _random(entry: Any, random: np.random.Generator) -> np.ndarray:
    shape = (_BATCH if entry.shape[0] is None else entry.shape[0], *entry.shape[1:])
    if None in shape or entry.dtype == "string":
        raise ExportError(
            f"input {entry.name!r} is {entry.dtype} of shape {tuple(entry.shape)}; expected --inputs FILE.npz with an "
            "array for it (in Python, inputs=...)"
        )
    if "int" in entry.dtype or entry.dtype == "bool":
        return random.integers(0, 2, shape).astype(entry.dtype)
    return random.random(shape).astype(entry.dtype)
