"""The log of this package: one line each, on stderr and with the package's name if nothing has configured logging."""

from __future__ import annotations

import logging
import sys
from typing import Any

from ..errors import printable

log = logging.getLogger("ckpt_callbacks")


class EscapingFilter(logging.Filter):
    """Escapes control characters, so that no name of a directory or a metric breaks a line or acts on a terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # the handler reports it
            return True
        if not text.isprintable():
            record.msg, record.args = printable(text), ()
        return True


class BareHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr if no other handler would get a record, like Python's handler of last resort.

    That one would write lines without a name, so that nobody could tell which package they come from.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("ckpt_callbacks: %(message)s"))

    @property
    def stream(self) -> Any:
        """The current stderr, which tests and notebooks replace."""
        return sys.stderr

    @property
    def is_needed(self) -> bool:
        """True if no other handler gets the records of this package."""
        others = [one for one in log.handlers if one is not self]
        return not others and not (log.propagate and logging.getLogger().handlers)

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None and self.is_needed:
            super().emit(record)


_HANDLER = BareHandler()
_HANDLER.addFilter(EscapingFilter())  # for what `announce` logs
log.addFilter(EscapingFilter())
log.addHandler(_HANDLER)


def announce(message: str, *values: object) -> None:
    """Log a line at INFO that is also shown if nothing has configured logging, which would hide it."""
    if _HANDLER.is_needed and not log.isEnabledFor(logging.INFO):
        _HANDLER.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, message, values, None))
    else:
        log.info(message, *values)
