"""A run directory that is opened with another policy than before."""

import os

import pytest

from ckpt_callbacks import EMA, Every, KeepAll, Metric, Policy
from ckpt_callbacks.config import Config
from tests.run.background import VAL, epoch
from tests.support.command import ckpt
from tests.support.training import new_run, start

NO_RANK = "no checkpoint can be ranked by"
POLICIES = {
    "smoothing": (Metric("val", mode="min", smoothing=EMA(0.3)), f"none: {NO_RANK} ema(0.3) of val"),
    "name": (Metric("accuracy", mode="max"), f"none: {NO_RANK} accuracy"),
    "mode": (Metric("val", mode="max"), "001.raw"),
    "nothing": (None, "none: the policy has no rule with a metric"),
}


def opened(dirpath, metric):
    """Return an open run whose best checkpoint is the best by this metric."""
    policy = Policy(Every(epochs=1), KeepAll(), best_by=metric)
    run = new_run(dirpath, policy, described=Config(policy).described, filename="{epoch:03d}", background=False)
    run.open()
    return run


def link(dirpath):
    path = dirpath / "best.raw"
    return os.readlink(path) if os.path.lexists(path) else None


@pytest.mark.parametrize("changed", POLICIES)
def test_best_follows_the_policy_that_the_journal_holds_and_a_line_says_so(tmp_path, changed, caplog):
    run = opened(tmp_path, VAL)
    start(run)
    for number, value in ((1, 3.0), (2, 1.0)):
        epoch(run, number, value)
    embedded = run.embedded_state() | {"record": run.view.last().id}
    run.close()
    assert link(tmp_path) == "002.raw"

    metric, best = POLICIES[changed]
    run = opened(tmp_path, metric)
    assert link(tmp_path) == "002.raw" and "nothing is wrong" in ckpt("doctor", tmp_path, "--dry-run").output
    run.restore(embedded)
    start(run, 20, 2)
    assert f"the policy has changed, so best is no longer 002.raw, but {best}" in caplog.text
    run.close()
    assert "nothing is wrong" in ckpt("doctor", tmp_path, "--dry-run").output
    shown = ckpt("show", tmp_path, "best").output
    if best == "001.raw":
        assert link(tmp_path) == best and f"file: {best}" in shown
    else:
        assert link(tmp_path) is None and f"has no 'best' checkpoint yet: {best.removeprefix('none: ')}" in shown


def test_the_same_policy_moves_nothing_and_records_no_second_start(tmp_path, caplog):
    run = opened(tmp_path, VAL)
    start(run)
    epoch(run, 1)
    embedded = run.embedded_state() | {"record": run.view.last().id}
    run.close()
    run = opened(tmp_path, VAL)
    run.restore(embedded)
    run.begin_without_training()
    run.close()
    assert len(run.directory.manifest.attempts) == 1 and link(tmp_path) == "001.raw" and not caplog.text
