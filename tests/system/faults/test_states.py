"""Any order of saving, crashing, resuming, tagging, deleting and damage, against a model of what must survive."""

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.system.faults.states import Training
from tests.system.faults.writer import FILE

pytestmark = pytest.mark.slow
KINDS = ("saves", "crashes", "damaged checkpoints", "lost or cut manifests", "taken names")


def test_a_step_that_was_deleted_before_the_better_one_was_damaged():
    training = Training()
    training.tried = Counter()
    training.begin(FILE)
    try:
        for value in (1, 1, 0):
            training.train(value)
            training.nothing_is_lost()
        third = training.run.view.last().path
        third.write_bytes(third.read_bytes()[:-1])
        training.damaged.add(3)
        training.bad.add(training.run.view.last().id)
        training.was_damaged = True
        training.reopen()
        training.nothing_is_lost()
        assert (training.step, training.pruned, training.there) == (2, {1}, {2})
    finally:
        training.teardown()


def test_any_order_of_events(figures):
    class Counted(Training):
        tried: ClassVar[Counter] = Counter()

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=120, stateful_step_count=15, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert {kind for kind in KINDS if Counted.tried[kind]} == set(KINDS), "some kind of event never occurred"
    figures(", ".join(f"{Counted.tried[kind]} {kind}" for kind in KINDS))
