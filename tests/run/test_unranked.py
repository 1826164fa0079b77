"""Warnings about metrics that no checkpoint can rank by."""

import pytest

from ckpt_callbacks import Every, Improves, KeepBest, Metric, OnPreempt, Policy
from ckpt_callbacks.events import EventKind
from ckpt_callbacks.testing import FakeWriter
from tests.support.training import new_run, report, start

VAL = Metric("val_loss", mode="min")
LINE = "so far, no checkpoint of this run is the best by val_loss: it was measured, but never at a step that was saved"


def warned_at(dirpath, caplog, policy, *, epoch_steps, epochs=5):
    """Return the epochs in which the warning was logged."""
    run, found = new_run(dirpath, policy, background=False), []
    run.open()
    start(run)
    for step in range(1, epochs * epoch_steps + 1):
        caplog.clear()
        report(run, EventKind.STEP_END, step=step, epoch=(step - 1) // epoch_steps)
        if step % epoch_steps == 0:
            epoch = step // epoch_steps
            report(run, EventKind.EPOCH_END, step=step, epoch=epoch, metrics={"val_loss": 1 / epoch}, complete=True)
            found += [epoch] * caplog.text.count(LINE)
    run.close()
    return found


def test_saves_that_miss_each_validation_are_named_after_the_second_one(tmp_path, caplog):
    policy = Policy(Every(steps=10) | OnPreempt(), KeepBest(1, by=VAL))
    assert warned_at(tmp_path, caplog, policy, epoch_steps=4 * 10 + 4, epochs=4) == [2]


@pytest.mark.parametrize("save", [Every(steps=10) | Every(epochs=3), Every(steps=10) | Improves(VAL), Every(steps=11)])
def test_saves_that_meet_a_validation_are_no_reason_to_warn(tmp_path, caplog, save):
    assert warned_at(tmp_path, caplog, Policy(save, KeepBest(1, by=VAL)), epoch_steps=11) == []


def test_saves_that_failed_are_named_as_the_reason(tmp_path, caplog):
    """Each validation was saved, as far as the policy knows; the advice to save there would be wrong."""
    run = new_run(tmp_path, Policy(Every(steps=10) | Improves(VAL), KeepBest(1, by=VAL)), background=False)
    run.open()
    start(run)
    writer = FakeWriter(fail_on={2, 3, 4})  # a full disk
    report(run, EventKind.STEP_END, step=10, stage=writer)
    for epoch, step in enumerate((15, 19), start=1):
        report(run, EventKind.EPOCH_END, step=step, epoch=epoch, metrics={"val_loss": 1 / epoch}, complete=True,
               stage=writer)  # fmt: skip
    caplog.clear()
    run.end()
    assert "was measured, but saves failed, as at step 1" in caplog.text and "add Improves" not in caplog.text
    assert "was measured, but saves failed" in run.view.why_no_best()
