"""Names that a misspelt one may mean."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: object, known: Iterable[object]) -> str | None:
    """Return the one of ``known`` that resembles ``word`` most; None if none does."""
    import difflib  # here, because only a mistake needs it

    return next(iter(difflib.get_close_matches(str(word), map(str, known), n=1)), None)


def near(word: object, known: Iterable[object]) -> str:
    """Return ``; did you mean 'epochs'?`` if one of ``known`` resembles ``word``, else an empty string."""
    found = closest(word, known)
    return "" if found is None else f"; did you mean {found!r}?"
