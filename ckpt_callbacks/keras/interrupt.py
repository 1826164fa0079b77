"""The traceback of an interrupt, such as Ctrl-C."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

_Hook = TypeVar("_Hook", bound=Callable[..., Any])


def without_inner_frames(hook: _Hook) -> _Hook:
    """Make a hook of a callback leave the frames of this package out of the traceback of a `KeyboardInterrupt`.

    A signal is answered deep inside, which tells a user nothing; plain Keras shows few frames.
    """

    @functools.wraps(hook)
    def short(self: object, *arguments: Any, **named: Any) -> None:
        try:
            hook(self, *arguments, **named)
        except KeyboardInterrupt as error:
            raise error.with_traceback(None) from None

    return short  # type: ignore[return-value]
