"""An unpickler that neither imports nor calls what a pickle names."""

from __future__ import annotations

import pickle
from typing import Any


class Placeholder:
    """A stand-in for an object of any class, which ignores whatever a pickle does to it and equals nothing else."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **named: Any) -> Placeholder:  # it may stand for a function, or a method
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    add = append


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that puts a `Placeholder` in place of everything that `allowed` does not return."""

    def find_class(self, module: str, name: str) -> Any:
        found = self.allowed(module, name)
        return Placeholder if found is None else found

    def allowed(self, module: str, name: str) -> Any:
        """Return the replacement for a class or function that the pickle names; None for a `Placeholder`."""
        return None
