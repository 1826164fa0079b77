"""Names of metrics that resemble each other, so that they probably mean the same metric."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What frameworks append to a name. Keras appends a number to a metric whose name is already used in the process; the 50
# of `map_50` is no such number. Lightning appends the kind of the value, or the number of the loader.
_SUFFIX = re.compile(r"(_[1-9]|_[1-4]\d|_epoch|_step|/dataloader_idx_\d+)$")
_SAME = {"valid": "val", "validation": "val", "training": "train"}
_WORD, _DOUBLE = re.compile(r"[a-z0-9]+"), re.compile(r"([a-z])\1+")
_ABBREVIATED, _LEFT_OUT, _LONG = 3, 3, 5  # letters
_LOSS = frozenset(("lss", "oss"))  # too short to be compared, but no names of other metrics
_SIMILAR = 0.75


def resembling(name: str, others: Iterable[str]) -> str | None:
    """Return the first name that resembles ``name``: with or without a suffix, abbreviated, or misspelled.

    Names of different metrics, such as ``mse`` and ``msle``, must not match, so short words may differ only by doubled
    or exchanged letters.
    """
    return next((other for other in sorted(others) if other != name and _alike(_words(name), _words(other))), None)


def containing(name: str, others: Iterable[str]) -> str | None:
    """Return the first name that has ``name`` as a part, as ``val_acc`` has ``acc``; those of a validation come first.

    Such a name may mean another metric, so it is no more than a suggestion.
    """
    words = _words(name)
    longer = [other for other in others if any(_alike(words, part) for part in _parts(_words(other), len(words)))]
    return min(longer, key=lambda other: (_words(other)[0] != "val", other), default=None)


def nearest(name: str, others: Iterable[str]) -> str | None:
    """Return the name that is written most like ``name``, with one similar word or with its words in another order.

    Such a name may mean another metric, as ``mse`` and ``msle`` do, so it is no more than a suggestion.
    """
    words = _words(name)
    likeness = {other: _likeness(words, _words(other)) for other in sorted(others) if other != name}
    best = max(likeness, key=lambda other: likeness[other], default=None)
    return best if best is not None and likeness[best] >= _SIMILAR else None


def same_but_for_suffix(name: str, other: str) -> bool:
    """Return whether two names differ only by a suffix of a framework, if they differ."""
    return _SUFFIX.sub("", name) == _SUFFIX.sub("", other)


def same_in_training(a: str, b: str) -> bool:
    """Return whether two names mean one metric, such as ``train_loss`` in Lightning and ``loss`` in Keras."""
    first, second = ([word for word in _words(name) if word != "train"] for name in (a, b))
    return first == second


def _words(name: str) -> list[str]:
    return [_SAME.get(word, word) for word in _WORD.findall(_SUFFIX.sub("", name).lower())]


def _parts(words: list[str], length: int) -> list[list[str]]:
    """Return each run of ``length`` words, if there are more words than that, and any."""
    starts = range(len(words) - length + 1) if 0 < length < len(words) else ()
    return [words[start : start + length] for start in starts]


def _likeness(a: list[str], b: list[str]) -> float:
    """Return how similar the only different words of two names are, from 0 to 1."""
    if sorted(a) == sorted(b):
        return 1.0
    different = [(x, y) for x, y in zip(a, b, strict=False) if x != y]
    if len(a) != len(b) or len(different) != 1:
        return 0.0
    import difflib  # here, because only a mistake needs it

    return difflib.SequenceMatcher(None, *different[0]).ratio()


def _alike(a: list[str], b: list[str]) -> bool:
    if _single("".join(a)) == _single("".join(b)):
        return True
    different = [(x, y) for x, y in zip(a, b, strict=False) if x != y]
    return len(a) == len(b) and len(different) == 1 and _is_slip(*different[0])


def _is_slip(a: str, b: str) -> bool:
    """Return whether one word is an abbreviation of the other, lacks one letter, or has two letters exchanged."""
    short, long = sorted((a, b), key=len)
    if long == "loss" and short in _LOSS:
        return True
    if long.startswith(short) and long.isalpha():
        return len(short) >= _ABBREVIATED and len(long) >= len(short) + _LEFT_OUT
    short, long = sorted((_single(a), _single(b)), key=len)
    if len(long) == len(short) + 1:
        return len(short) >= _LONG and any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
    places = [place for place, (x, y) in enumerate(zip(short, long, strict=False)) if x != y]
    if len(short) != len(long) or len(places) != 2:
        return False
    first, last = places
    return last - first == 1 and short[first] == long[last] and short[last] == long[first]


def _single(word: str) -> str:
    return _DOUBLE.sub(r"\1", word)
