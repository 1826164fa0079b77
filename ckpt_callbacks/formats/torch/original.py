"""The facts of a ``.ckpt`` file that Lightning's own callbacks wrote."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import VerifyError, first_line
from ..original import Original, Ranking
from .check import is_archive, load_known, refused
from .format import KEY
from .without_code import described

_ALWAYS = {"pytorch-lightning_version", "global_step", "state_dict"}
_NEEDED = ("state_dict", "optimizer_states", "loops")  # to continue a run
_MODE = re.compile(r"'mode': '(min|max)'")  # in the key of a callback's state


def original(path: Path) -> Original | None:
    """Return what a file of Lightning says about the training; None for any other file. Runs no code that it names.

    Raises:
        VerifyError: The file is damaged.
    """
    if path.is_dir():
        raise VerifyError(f"{path}: is a folder; expected a file, as strategies write that do not split checkpoints")
    if not is_archive(path):
        raise VerifyError(f"{path}: is not a zip archive, as torch.save writes them, or its end is missing")
    unknown = ""
    try:
        found = load_known(path)
    except pickle.UnpicklingError as error:
        unknown, found = refused(error), _without_code(path)
    if not isinstance(found, dict) or not found.keys() >= _ALWAYS or KEY in found:
        return None
    states = found.get("callbacks")
    own = [*_own(states)] if isinstance(states, Mapping) else []
    return Original(
        framework="lightning",
        step=_whole(found["global_step"]),
        epoch=_epochs(found),
        contents="full" if found.get("optimizer_states") is not None else "weights",
        resumable=all(found.get(name) is not None for name in _NEEDED),
        rankings=tuple(_rankings(own)),
        has_rankings=isinstance(states, Mapping),
        names=frozenset(_names(own)),
        refused=unknown,
    )


def _without_code(path: Path) -> Any:
    try:
        return described(path)
    except Exception as error:  # torch raises all kinds of errors when a file is damaged
        raise VerifyError(f"{path}: torch cannot open it: {first_line(error)}") from error


def _epochs(found: Mapping[str, Any]) -> int:
    """Return the number of completed epochs; ``epoch`` is the index of the running one."""
    try:
        return _whole(found["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError):
        return _whole(found.get("epoch"))


def _own(states: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the state of each ModelCheckpoint, with its key."""
    for key, state in states.items():
        if isinstance(state, Mapping) and isinstance(state.get("best_k_models"), Mapping):
            yield str(key), state


def _names(own: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    for _, state in own:
        known = (state.get("best_model_path"), state.get("last_model_path"), *state["best_k_models"])
        yield from filter(None, (_name(path, state.get("dirpath")) for path in known if path))


def _rankings(own: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Ranking]:
    for key, state in own:
        metric, mode = state.get("monitor"), _MODE.search(key)
        scores = {
            name: value
            for path, score in state["best_k_models"].items()
            if (name := _name(path, state.get("dirpath"))) and (value := _number(score)) is not None
        }
        if isinstance(metric, str):
            yield Ranking(metric, mode[1] if mode is not None else None, scores)


def _name(path: Any, dirpath: Any) -> str:
    """Return the name of a file in the callback's directory, wherever that is now; empty if it is elsewhere."""
    if not isinstance(path, str | os.PathLike):
        return ""
    path = os.fspath(path)
    name = os.path.relpath(path, dirpath) if isinstance(dirpath, str) and dirpath else os.path.basename(path)
    return "" if name.startswith(os.pardir) else name


def _whole(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # a stand-in for an object, or a tensor of several values
        return None
