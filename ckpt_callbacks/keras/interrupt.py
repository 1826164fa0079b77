"""The traceback of an interrupt, such as Ctrl-C."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
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

    @functools.wraps(hook)
    def short_of_batch(self: object, batch: int, logs: Mapping[str, float] | None = None) -> None:
        # The same: at each batch, it costs 0.02 us, while `*arguments` would cost 0.2 us.
        try:
            hook(self, batch, logs)
        except KeyboardInterrupt as error:
            raise error.with_traceback(None) from None

    parameters = hook.__code__.co_varnames[1:2]
    return short_of_batch if parameters == ("batch",) else short  # type: ignore[return-value]
