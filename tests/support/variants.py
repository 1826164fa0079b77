"""Parametrized cases, of which ``make test`` runs only some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def only_quick(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """Return ``cases`` for parametrize; those that are not in ``quick`` carry the marker slow.

    Args:
        cases: values of one argument, or tuples of values of several.
        quick: the cases that ``make test`` runs: at least one of each kind.
    """
    cases = list(cases)
    assert all(case in cases for case in quick), "a quick case is not among the cases"
    marked = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marked.append(pytest.param(*values, marks=() if case in quick else pytest.mark.slow))
    return marked
