"""The configuration of a model, with learning rates that can change while the structure stays the same."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from .config_json import stand_in
from .objects import optimizers, structural
from .structure import is_framework
from .walk import config_of

_RATE = "learning_rate"
_NOT_A_RATE = -1.0e-300  # the mark of the first optimizer; no real rate is negative


@dataclass(frozen=True)
class Configuration:
    """The contents of ``config.json`` and ``metadata.json``, except for the learning rates and the time.

    Attributes:
        pieces: The bytes around the learning rates.
        rates: The variables whose values, the learning rates, stand between the pieces.
        metadata: The contents of ``metadata.json``.
        problem: Why this is only a stand-in; None if it is the real configuration.
    """

    pieces: Sequence[bytes]
    rates: Sequence[keras.Variable]
    metadata: Mapping[str, Any]
    problem: Exception | None = None

    def text(self) -> bytes:
        """Return the contents of ``config.json`` with the current learning rates."""
        # As JSON, because a rate may be infinite.
        values = {id(rate): json.dumps(float(keras.ops.convert_to_numpy(rate))).encode() for rate in self.rates}
        pairs = zip(self.rates, self.pieces[1:], strict=True)
        return self.pieces[0] + b"".join(values[id(rate)] + piece for rate, piece in pairs)

    def dated(self) -> str:
        """Return the contents of ``metadata.json`` with the current time."""
        return json.dumps({**self.metadata, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")})


@structural
def configuration(model: keras.Model) -> Configuration:
    """Return the configuration of a model, or a stand-in if Keras cannot write it; see `stand_in`."""
    marks: dict[str, keras.Variable] = {}
    problem = None
    try:
        with _marked_rates(model, marks):
            config, metadata = config_of(model)
    except Exception as error:  # whatever the user's ``get_config()`` raises
        (config, metadata), marks, problem = stand_in(model), {}, error
    pieces = re.split("|".join(map(re.escape, marks)), config) if marks else [config]
    rates = [marks[mark] for mark in re.findall("|".join(map(re.escape, marks)), config)] if marks else []
    return Configuration([piece.encode() for piece in pieces], rates, json.loads(metadata), problem)


@contextmanager
def _marked_rates(model: keras.Model, marks: dict[str, keras.Variable]) -> Iterator[None]:
    """Within this block, optimizers whose rate is a variable return a mark in its place. Add the marks to ``marks``."""
    changed = []
    for number, one in enumerate(optimizers(model).values()):
        rate, usual = getattr(one, f"_{_RATE}", None), one.get_config
        usual_config = is_framework(type(one).get_config) and "get_config" not in vars(one)
        if isinstance(rate, keras.Variable) and usual_config:
            mark = _NOT_A_RATE * (1 + number)
            marks[repr(mark)] = rate
            vars(one)["get_config"] = lambda usual=usual, mark=mark: _with_rate(usual(), mark)
            changed.append(one)
    try:
        yield
    finally:
        for one in changed:
            vars(one).pop("get_config", None)


def _with_rate(config: dict[str, Any], mark: float) -> dict[str, Any]:
    return {**config, _RATE: mark} if isinstance(config.get(_RATE), float) else config
