"""What a checkpoint carries besides Keras' own state, as JSON values that plain Keras does not look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..record import check_version
from .arrays import array_from_json, array_to_json, from_json, to_json
from .callbacks import States

VERSION = 1


@dataclass(frozen=True)
class Moment:
    """What goes on changing while nothing is trained: in a validation, say.

    Attributes:
        random: States of the random generators. seeds: values of the model's seed variables.
        metrics: Values of its metrics' variables. siblings: states of the other callbacks.
    """

    random: Mapping[str, np.ndarray] = field(default_factory=dict)
    seeds: tuple[np.ndarray, ...] = ()
    metrics: tuple[np.ndarray, ...] = ()
    siblings: States = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "random": {name: array_to_json(array) for name, array in self.random.items()},
            "seeds": [array_to_json(array) for array in self.seeds],
            "metrics": [array_to_json(array) for array in self.metrics],
            "siblings": to_json(self.siblings),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Moment:
        return cls(
            random={name: array_from_json(array) for name, array in facts["random"].items()},
            seeds=tuple(map(array_from_json, facts["seeds"])),
            metrics=tuple(map(array_from_json, facts["metrics"])),
            siblings=tuple(from_json(state) for state in facts["siblings"]),
        )


@dataclass(frozen=True)
class Carried:
    """What is needed to go on from a checkpoint.

    Attributes:
        snapshot: See `Run.snapshot`. record: see `Run.facts`.
        batch: Batches of the running epoch that were trained; 0 at an epoch's beginning. batches: how many it has.
        begun: The next batch had begun, so that it may have been drawn already.
        validating: All batches of the epoch were trained, and its validation had begun.
        backend, optimizer: What wrote it.
        further: For each further optimizer that was built, by its attribute, which of the model's weights it steps.
        moment: The rest of the state at the save, or when the validation began.
        epoch_random: Random states at the running epoch's beginning.
    """

    snapshot: Mapping[str, Any]
    record: Mapping[str, Any] | None = None
    batch: int = 0
    batches: int | None = None
    begun: bool = False
    validating: bool = False
    backend: str = ""
    optimizer: str = ""
    further: Mapping[str, list[int]] = field(default_factory=dict)
    moment: Moment = Moment()
    epoch_random: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return {
            **vars(self),
            "version": VERSION,
            "moment": self.moment.to_json(),
            "epoch_random": {name: array_to_json(array) for name, array in self.epoch_random.items()},
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Carried:
        """What `to_json` described.

        Raises:
            ResumeError: it was written by a newer version.
        """
        check_version(facts.get("version"), VERSION, "the checkpoint")
        return cls(
            snapshot=facts["snapshot"],
            record=facts.get("record"),
            batch=facts["batch"],
            batches=facts["batches"],
            begun=facts["begun"],
            validating=facts["validating"],
            backend=facts["backend"],
            optimizer=facts["optimizer"],
            further=facts.get("further", {}),
            moment=Moment.from_json(facts["moment"]),
            epoch_random={name: array_from_json(array) for name, array in facts["epoch_random"].items()},
        )
