"""What a checkpoint carries besides Keras' own state, as JSON values that plain Keras does not look at."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ResumeError

VERSION = 1


@dataclass(frozen=True)
class Carried:
    """What is needed to go on from a checkpoint.

    Attributes:
        snapshot: See `Run.snapshot`. record: see `Run.facts`.
        batch: Batches of the running epoch that were trained; 0 at an epoch's beginning. batches: how many it has.
        begun: The next batch had begun, so that it may have been drawn already.
        backend, optimizer: What wrote it.
        random: Random states at the save. epoch_random: those at the running epoch's beginning.
        seeds: Values of the model's seed variables. metrics: of its metrics' variables, in mid-epoch.
    """

    snapshot: Mapping[str, Any]
    record: Mapping[str, Any] | None = None
    batch: int = 0
    batches: int | None = None
    begun: bool = False
    backend: str = ""
    optimizer: str = ""
    random: Mapping[str, np.ndarray] = field(default_factory=dict)
    epoch_random: Mapping[str, np.ndarray] = field(default_factory=dict)
    seeds: tuple[np.ndarray, ...] = ()
    metrics: tuple[np.ndarray, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return {
            **vars(self),
            "version": VERSION,
            "random": {name: _packed(array) for name, array in self.random.items()},
            "epoch_random": {name: _packed(array) for name, array in self.epoch_random.items()},
            "seeds": [_packed(array) for array in self.seeds],
            "metrics": [_packed(array) for array in self.metrics],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Carried:
        """What `to_json` described.

        Raises:
            ResumeError: it was written by a newer version.
        """
        version = facts.get("version")
        if not isinstance(version, int) or version > VERSION:
            raise ResumeError(
                f"the checkpoint's version is {version!r}; expected at most {VERSION}; install a newer ckpt-callbacks"
            )
        return cls(
            snapshot=facts["snapshot"],
            record=facts.get("record"),
            batch=facts["batch"],
            batches=facts["batches"],
            begun=facts["begun"],
            backend=facts["backend"],
            optimizer=facts["optimizer"],
            random={name: _unpacked(packed) for name, packed in facts["random"].items()},
            epoch_random={name: _unpacked(packed) for name, packed in facts["epoch_random"].items()},
            seeds=tuple(map(_unpacked, facts["seeds"])),
            metrics=tuple(map(_unpacked, facts["metrics"])),
        )


def _packed(array: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def _unpacked(packed: Mapping[str, Any]) -> np.ndarray:
    data = base64.b64decode(packed["data"])
    return np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"]).copy()
