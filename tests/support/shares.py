"""A share of the slow tests: some variants of each test and points of each sweep, and others at the next commit."""

from __future__ import annotations

import functools
import os
import random
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tests.support.processes import ROOT

PARTS = int(os.environ.get("PARTS", "1"))  # one in so many runs

Point = TypeVar("Point")


def share(points: Iterable[Point]) -> list[Point]:
    """Return one in `PARTS` of the points that a sweep tries, in their order; other ones in another test."""
    found = list(points)
    if PARTS == 1:
        return found
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    return [found[number] for number in sorted(_sample(range(len(found)), PARTS, f"{commit()} {test}"))]


def left_out(variants: Iterable[str], parts: int, seed: str) -> set[str]:
    """Return the variants that do not run; at least one of each test does.

    Args:
        variants: Their names, with the variant in brackets.
        parts: One in how many variants of a test runs.
        seed: Which ones do: the same for the same text.
    """
    tests = defaultdict[str, list[str]](list)
    for variant in variants:
        tests[variant.partition("[")[0]].append(variant)
    left = set[str]()
    for test, found in tests.items():
        left |= set(found) - set(_sample(sorted(found), parts, f"{seed} {test}"))
    return left


def _sample(found: Sequence[Point], parts: int, seed: str) -> list[Point]:
    return random.Random(seed).sample(found, -(-len(found) // parts))


@functools.cache
def commit() -> str:
    """Return the commit that is checked out; empty outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
