"""Arguments that Lightning refuses or takes for something else, and what to write instead."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ...policy.argument_names import suggests_names, taken_by
from ...policy.direction import direction_of
from ...policy.text_for_number import refuse_text
from ...runtime.bare_log import announce
from ..callback import LightningCheckpoint

_Call = TypeVar("_Call", bound=Callable[..., Any])
_Given = Mapping[str, Any]

_EPOCHS = "every_n_epochs"
_BEST = "monitor='val_loss' and mode='min', which keep the best one"
_WEIGHTS = "ModelCheckpoint with a monitor, and load its best_model_path after fit"

_OWN = taken_by(LightningCheckpoint)

# By name: arguments of `LightningCheckpoint`, of earlier versions of Lightning, and of Keras.
MODEL_CHECKPOINT = {
    **_OWN,
    "patience": "EarlyStopping(..., patience=...)",
    "period": _EPOCHS,
    "every_n_val_epochs": _EPOCHS,
    "filepath": "dirpath for the directory, and filename for the name without .ckpt",
    "prefix": "filename='PREFIX-{epoch}-{step}'",
    "save_best_only": _BEST,
    "save_freq": "every_n_epochs or every_n_train_steps",
    "initial_value_threshold": "nothing: the first value is always among the best",
}
EARLY_STOPPING = {
    **_OWN,
    "restore_best_weights": _WEIGHTS,
    "baseline": "nothing: patience counts from the first value",
    "start_from_epoch": "nothing: patience counts from the first value",
}

_TRIGGERS = ("every_n_train_steps", "every_n_epochs", "train_time_interval")
_NUMBERS = ("save_top_k", "every_n_train_steps", "every_n_epochs", "min_delta", "patience", "stopping_threshold",
            "divergence_threshold")  # fmt: skip
_FILE = re.compile(r"(.*?)(\.ckpt|\.pth?|\.pkl)")
_TEMPLATE = re.compile(r"\{\w[^{}]*\}")
_said: set[str] = set()


def checked(elsewhere: Mapping[str, str]) -> Callable[[_Call], _Call]:
    """Make the constructor of a drop-in say what to write instead of arguments that the original refuses.

    What the original takes for something else than it looks like is taken in the same way, and logged once.

    Args:
        elsewhere: What to write instead of arguments that the original does not have, by name.
    """

    def decorated(call: _Call) -> _Call:
        signature = inspect.signature(call)
        name, _ = call.__qualname__.split(".")

        @functools.wraps(call)
        def explained(self: object, *arguments: object, **named: object) -> None:
            try:
                found = signature.bind(self, *arguments, **named)
            except TypeError:
                call(self, *arguments, **named)  # Python says better which argument is missing, or too much
                raise
            found.apply_defaults()
            given = found.arguments
            _refuse_wrong_types(name, given)
            _say(name, given)
            try:
                call(self, *arguments, **named)
            except (MisconfigurationException, TypeError) as error:
                if not (instead := _instead(given)):
                    raise
                raise type(error)(f"{str(error).rstrip('.')}; instead, write {instead}") from None

        return suggests_names(elsewhere)(explained)  # type: ignore[return-value]

    return decorated


def _refuse_wrong_types(name: str, given: _Given) -> None:
    """Refuse what the original takes, and fails on in mid-training."""
    refuse_text(name, {argument: given.get(argument) for argument in _NUMBERS})
    if isinstance(seconds := given.get("train_time_interval"), int | float):
        instead = f"train_time_interval=timedelta(seconds={seconds})"
        raise TypeError(f"{name}: train_time_interval is {seconds}; instead, write {instead}")


def _instead(given: _Given) -> str:
    """Return what to write instead of the arguments that the original has refused; empty if that is not known."""
    if (mode := given["mode"]) not in ("min", "max"):
        begun = str(mode).lower()[:3]
        meant = begun if begun in ("min", "max") else direction_of(str(given["monitor"]))
        return f"mode={meant!r}" if meant else "mode='min' or mode='max'"
    number, triggers = given.get("save_top_k", 1), {name: given.get(name) for name in _TRIGGERS}
    if number is None:
        return "save_top_k=1, which is the default"
    if number < -1:
        return "save_top_k=-1 to keep all"
    if negative := [name for name in _TRIGGERS[:2] if (triggers[name] or 0) < 0]:
        return f"{negative[0]}=0 to switch it off"
    if len(several := [name for name, value in triggers.items() if value not in (None, 0)]) > 1:
        return f"a ModelCheckpoint for each of {' and '.join(several)}"
    if number not in (-1, 0, 1) and given["monitor"] is None:
        return f"monitor='val_loss' as well to keep the best {number}, or save_top_k=-1 to keep all"
    return ""


def _say(name: str, given: _Given) -> None:
    """Log once what an argument means, if it probably means something else than it was meant to."""
    for text in (_of_truth(given), _of_directory(given), _of_suffix(given), _of_direction(given)):
        if text and text not in _said:
            _said.add(text)
            announce("%s: %s", name, text)


def _of_truth(given: _Given) -> str:
    value = given.get("save_top_k")
    if not isinstance(value, bool):
        return ""
    kept = "one checkpoint is kept; for all, write save_top_k=-1" if value else "only save_last saves"
    return f"save_top_k is {value}, which counts as {int(value)}: {kept}"


def _of_directory(given: _Given) -> str:
    path = given.get("dirpath")
    if not isinstance(path, str | os.PathLike):
        return ""
    folder, last = os.path.split(os.fspath(path))
    if (found := _FILE.fullmatch(last)) is None and not _TEMPLATE.search(last):
        return ""
    instead = f"dirpath={folder or '.'!r}, filename={(found[1] if found else last)!r}"
    return f"dirpath is {os.fspath(path)!r}, which becomes a directory; for a file of this name, write {instead}"


def _of_suffix(given: _Given) -> str:
    filename = str(given.get("filename") or "")
    if not filename.endswith(".ckpt"):
        return ""
    return f"filename is {filename!r}, and .ckpt is added to it; write filename={filename.removesuffix('.ckpt')!r}"


def _of_direction(given: _Given) -> str:
    """Lightning's own default is ``mode="min"``, whatever the metric is called."""
    monitor, mode = given.get("monitor"), given.get("mode")
    meant = direction_of(monitor) if isinstance(monitor, str) else None
    if meant is None or mode == meant:
        return ""
    return (
        f"mode is {mode!r}, so the {'lowest' if mode == 'min' else 'highest'} {monitor} is the best; for the "
        f"{'lowest' if meant == 'min' else 'highest'}, write mode={meant!r}"
    )
