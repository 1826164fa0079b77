"""Values of any kind for records: plain, and of a bounded size."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ckpt_callbacks.runtime.plain_values import plain

LARGE = {
    "words": [f"word{i}" for i in range(100_000)],
    "vocabulary": {f"word{i}": i for i in range(100_000)},
    "pairs": [[i, [i]] for i in range(50_000)],
    "a text": "x" * 1_000_000,
    "nested": {str(i): {str(j): {str(k): k for k in range(30)} for j in range(30)} for i in range(30)},
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_is_cut_and_says_how_much_is_left_out(name):
    shown = plain({name: LARGE[name], "lr": 0.1})
    text = json.dumps(shown)
    assert len(text) < 50_000 and "more" in text
    assert shown["lr"] == 0.1, "what comes after it has its place"


@pytest.mark.parametrize("name", LARGE)
def test_what_is_plain_stays_as_it_is(name):
    once = plain(LARGE[name])
    assert plain(once) == once


def test_small_values_are_shown_whole():
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": math.nan}, "d": Path("/p"), "e": np.float64(2.0), 3: (1, 2)}
    assert plain(value) == {"a": [1, 2.5, None, True, "x"], "b": {"c": "nan"}, "d": "/p", "e": 2.0, "3": [1, 2]}
    assert plain(list(range(100))) == list(range(100))
    assert plain([0] * 101)[-1] == "... and 2 more"
    assert plain(LARGE["vocabulary"], most=math.inf) == LARGE["vocabulary"]
