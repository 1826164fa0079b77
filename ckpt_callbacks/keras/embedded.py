"""The state of a fit that is embedded in each checkpoint, as JSON values that plain Keras ignores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..record import check_version
from .arrays import array_from_json, array_to_json, from_json, to_json
from .held_arrays import HeldArrays
from .other_callbacks import States

VERSION = 1


@dataclass(frozen=True)
class VolatileState:
    """The state that changes even while no batch is trained, such as during a validation.

    Attributes:
        random: The states of the random generators.
        seeds: The values of the model's seed variables.
        metrics: The values of the variables of the model's metrics.
        callbacks: The states of the other callbacks.
        uncounted: The values of the variables that Keras does not count, by name; see `Uncounted`.
    """

    random: Mapping[str, np.ndarray] = field(default_factory=dict)
    seeds: tuple[np.ndarray, ...] = ()
    metrics: tuple[np.ndarray, ...] = ()
    callbacks: States = ()
    uncounted: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self, held: HeldArrays | None = None) -> dict[str, Any]:
        """Return the state in the form that a checkpoint holds.

        Args:
            held: Receives the large arrays of callbacks and of uncounted variables. If None, they become text.
        """
        return {
            "random": {name: array_to_json(array) for name, array in self.random.items()},
            "seeds": [array_to_json(array) for array in self.seeds],
            "metrics": [array_to_json(array) for array in self.metrics],
            "siblings": to_json(self.callbacks, held),
            "uncounted": {name: array_to_json(array, held) for name, array in self.uncounted.items()},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> VolatileState:
        """Return the state that a checkpoint holds.

        Args:
            state: The JSON values.
            arrays: The bytes of each array that the checkpoint holds outside the JSON.
        """
        return cls(
            random={name: array_from_json(array) for name, array in state["random"].items()},
            seeds=tuple(map(array_from_json, state["seeds"])),
            metrics=tuple(map(array_from_json, state["metrics"])),
            callbacks=tuple(from_json(state, arrays) for state in state["siblings"]),
            uncounted={name: array_from_json(array, arrays) for name, array in state.get("uncounted", {}).items()},
        )


@dataclass(frozen=True)
class FitState:
    """The state of one fit.

    Attributes:
        run: The state of the run; see `Embedded.run`.
        record: The record of the checkpoint; see `Embedded.record`.
        batch: Number of batches of the running epoch that were trained on; 0 at the beginning of an epoch.
        earlier_epochs: Number of epochs of the run that Keras did not count in this fit, because earlier fits trained
            them.
        batches: Number of batches in the epoch; None if unknown.
        next_begun: True if the next batch had begun, so that it may already have been drawn.
        validating: True if all batches of the epoch were trained on and its validation had begun.
        trained: Number of batches that were trained on in all epochs; None if an earlier version wrote the checkpoint.
        backend: The backend that wrote the checkpoint.
        optimizer: The class of the optimizer; empty if it was not built.
        further_optimizers: For each optimizer that was built, by the attribute names that lead to it (see `objects`):
            the indices of the model's weights that it updates. The compiled optimizer is listed only if these are not
            the trainable ones.
        unbuilt: The layers that had no variables yet; see `unbuilt_layers`.
        volatile: The volatile state at the save, or when the validation began.
        epoch_random: The states of the random generators at the beginning of the running epoch.
        hooks_random: The same, before the hooks of the other callbacks; empty if those draw no random numbers.
        named: The names of frozen and averaged weights in the file, if they are needed; see `named_weights`.
    """

    run: Mapping[str, Any]
    record: Mapping[str, Any] | None = None
    batch: int = 0
    earlier_epochs: int = 0
    batches: int | None = None
    next_begun: bool = False
    validating: bool = False
    trained: int | None = None
    backend: str = ""
    optimizer: str = ""
    further_optimizers: Mapping[str, list[int]] = field(default_factory=dict)
    unbuilt: Sequence[str] = ()
    volatile: VolatileState = VolatileState()
    epoch_random: Mapping[str, np.ndarray] = field(default_factory=dict)
    hooks_random: Mapping[str, np.ndarray] = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> int:
        """The number of the script's `fit` that saved the checkpoint; see `Record.fit`."""
        return int((self.record or {}).get("fit", 1))

    def to_json(self, held: HeldArrays | None = None) -> dict[str, Any]:
        """Return the state in the form that a checkpoint holds; see `VolatileState.to_json`."""
        return {
            "snapshot": self.run,
            "record": self.record,
            "batch": self.batch,
            "batches": self.batches,
            "earlier_epochs": self.earlier_epochs,
            "begun": self.next_begun,
            "validating": self.validating,
            "trained": self.trained,
            "backend": self.backend,
            "optimizer": self.optimizer,
            "further": self.further_optimizers,
            "unbuilt": list(self.unbuilt),
            "moment": self.volatile.to_json(held),
            "epoch_random": {name: array_to_json(array) for name, array in self.epoch_random.items()},
            "hooks_random": {name: array_to_json(array) for name, array in self.hooks_random.items()},
            "version": VERSION,
            **self.named,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> FitState:
        """Return the state that a checkpoint holds; see `VolatileState.from_json`.

        Raises:
            ResumeError: A newer version wrote the checkpoint.
        """
        check_version(state.get("version"), VERSION, "the checkpoint")
        return cls(
            run=state["snapshot"],
            record=state.get("record"),
            batch=state["batch"],
            batches=state["batches"],
            earlier_epochs=state.get("earlier_epochs", 0),
            next_begun=state["begun"],
            validating=state["validating"],
            trained=state.get("trained"),
            backend=state["backend"],
            optimizer=state["optimizer"],
            further_optimizers=state.get("further", {}),
            unbuilt=tuple(state.get("unbuilt", ())),
            volatile=VolatileState.from_json(state["moment"], arrays),
            epoch_random={name: array_from_json(array) for name, array in state["epoch_random"].items()},
            hooks_random={name: array_from_json(array) for name, array in state.get("hooks_random", {}).items()},
        )
