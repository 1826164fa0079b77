"""Lines on the terminal, in which no name of a file or a metric can act as a control sequence."""

from __future__ import annotations

import unicodedata

import click

_UNSAFE = {"Cc", "Zl", "Zp"}  # controls, and separators of lines and paragraphs
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder a line
_RAW = frozenset(map(chr, range(0xDC80, 0xDCA0)))  # bytes of a name that is not UTF-8, as controls of eight bits


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters escaped, such as ``\x1b``.

    Args:
        text: The text.
        keep: Control characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _is_unsafe(c) else c.encode("unicode_escape").decode() for c in text)


def say(text: str, *, err: bool = False) -> None:
    """Print one line of plain text.

    Args:
        text: The line.
        err: Whether it is a problem, and not a result.
    """
    click.echo(printable(text), err=err)


def _is_unsafe(character: str) -> bool:
    return character in _BIDI or character in _RAW or unicodedata.category(character) in _UNSAFE
