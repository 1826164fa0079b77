"""The attributes of a callback that name files which may still be written in the background."""

from __future__ import annotations

from typing import Any, Protocol


class Awaiting(Protocol):
    """A callback with such attributes."""

    def await_files(self) -> None: ...


class Awaited:
    """An attribute that can be set as any other, and whose value is given once the files that were asked for exist."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, callback: Any, owner: type | None = None) -> Any:
        if callback is None:
            return self
        callback.await_files()
        try:
            return vars(callback)[self._name]
        except KeyError:
            raise AttributeError(f"{type(callback).__name__} has no attribute {self._name!r}") from None

    def __set__(self, callback: Awaiting, value: Any) -> None:
        vars(callback)[self._name] = value
