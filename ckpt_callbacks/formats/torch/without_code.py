"""A reader of ``.ckpt`` files that runs none of the code that they name, whatever classes they hold."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from .readable_name import readable_name
from .unpickler import Placeholder, RestrictedUnpickler

_OF_TORCH = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)  # what a tensor is described with


def read(path: Path) -> Any:
    """Return the saved object, with its tensors left on the disk, and a `Described` in place of all unknown objects.

    Raises:
        Exception: Whatever torch and zipfile raise for a damaged file.
    """
    try:
        return _load(path, weights_only=True)
    except pickle.UnpicklingError:  # the file also holds objects of other classes
        return described(path)


def described(path: Path) -> Any:
    """Return what `read` does for a file with objects of other classes than torch's.

    Raises:
        Exception: As for `read`.
    """
    return _load(path, weights_only=False, pickle_module=_TensorsAlone)


def _load(path: Path, **how: Any) -> Any:
    with readable_name(path) as name:
        with zipfile.ZipFile(name) as archive:
            archive.infolist()  # torch reads files of earlier formats, too, but not from the disk piece by piece
        return torch.load(name, map_location="cpu", mmap=True, **how)


class Described(Placeholder):
    """A stand-in for an object, which knows the object's class, and what the pickle would have made it from."""

    _class = "?"

    def __new__(cls, *arguments: Any, **named: Any) -> Described:  # pickle does not always call __init__
        made = super().__new__(cls)
        made._note(*arguments, *named.items())
        return made

    def __call__(self, *arguments: Any, **named: Any) -> Described:
        self._note(*arguments, *named.items())
        return self

    def __setstate__(self, state: Any) -> None:
        self._note(state)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._note((key, value))

    def append(self, value: Any) -> None:
        self._note(value)

    add = append

    def __repr__(self) -> str:
        return f"{self._class}({', '.join(map(repr, vars(self)['parts']))})"

    def _note(self, *parts: Any) -> None:
        vars(self).setdefault("parts", []).extend(parts)


class _Unpickler(RestrictedUnpickler):
    """Rebuilds tensors, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        found = self.allowed(module, name)
        return type(name, (Described,), {"_class": f"{module}.{name}"}) if found is None else found

    def allowed(self, module: str, name: str) -> Any:
        known = (module, name) == ("collections", "OrderedDict")
        if known or (module == "torch._utils" and name.startswith("_rebuild_")):
            return pickle.Unpickler.find_class(self, module, name)
        found = getattr(torch, name, None) if module == "torch" else None
        return found if isinstance(found, _OF_TORCH) or found in (torch.Size, torch.device) else None


class _TensorsAlone:
    """The parts of the `pickle` module that torch uses to read pickles."""

    Unpickler, load, UnpicklingError = _Unpickler, pickle.load, pickle.UnpicklingError
