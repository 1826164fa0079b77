"""The steps at which two real processes agree: what is due and what came from outside, and nothing in between.

The first process's clock shows 10 ms a batch. In that time, the number of batches between two agreements doubles until
they are half a second apart, or 0.15 s with `OnPreempt`.
"""

import json
from pathlib import Path

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of

SCRIPT = Path(__file__).parent / "train_agreements.py"
BEGIN = [1, 2, 4, 8, 16]


def run(dirpath, *kinds):
    return json.loads(forks_of().run(SCRIPT, dirpath, *kinds).splitlines()[-1])  # starts the other process itself


@pytest.mark.slow
def test_processes_communicate_only_at_agreed_steps_whatever_their_clocks_show(tmp_path):
    found = run(tmp_path, "idle", "asked")
    # Every 40 steps, at the ends of the epochs at 60 and 120, and around the validations at 50 and 110
    rules, validations = [40, 80], [50, 110]
    assert found["idle"] == {
        "agreed": sorted([*BEGIN, 31, *rules, 60, 61, 76, 95, *validations, 120]), "saved": [40, 80, 120]
    }  # fmt: skip
    assert found["asked"] == {"agreed": [*BEGIN, 32, 60], "saved": [32, 60]}, "asked before batch 20"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    kinds = ("accumulated", "manual", "several", "logged_late", "compared", "nan", "fails")
    return run(tmp_path_factory.mktemp("kinds"), *kinds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, agreed, saved",
    [
        ("accumulated", [4, 8, 16, 32, 48, 60], [12, 15]),  # 4 batches a step
        ("manual", [1, 2, 4, 8, 16, 24, 48, 60], [12, 24, 30]),  # 2 batches a step; at 1, whether steps are counted
        ("several", [*BEGIN, 20, 25, 40, 50, 60], [20, 40, 60, 25, 50, 60]),
        ("logged_late", [*BEGIN, *range(32, 61)], [60]),  # only by the second process
        ("compared", list(range(1, 61)), [26, 36, 46, 56, 60]),
        ("nan", list(range(1, 32)), [31]),
    ],
)
def test_what_rules_need_is_agreed_on_at_the_same_steps(found, kind, agreed, saved):
    assert found[kind] == {"agreed": agreed, "saved": saved}


@pytest.mark.slow
def test_a_failed_save_is_raised_in_all_processes_at_the_next_agreement(found):
    assert found["fails"]["errors"] == ["CommitError", "CommitError"]
    # The save at 18 fails in the background, on a busy machine before the agreement there has ended.
    assert found["fails"]["agreed"] in ([*BEGIN, 18, 50], [*BEGIN, 18])


@pytest.mark.slow
def test_a_signal_to_one_process_is_answered_at_the_next_agreement_of_each_callback(tmp_path):
    done = forks_of().complete(SCRIPT, tmp_path, "term")
    assert done.returncode == 143, done.stderr[-3000:]
    for rule, step in ((25, 25), (50, 31)):
        last = Manifest.read(tmp_path / "term" / str(rule)).live()[-1]
        assert (last.step, last.reasons[-1]) == (step, "preemption")
