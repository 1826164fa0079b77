"""A run in which no checkpoint can be the best."""

import pytest

from ckpt_callbacks import Every, KeepAll, KeepBest, Metric, Patience, Policy
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, fit, loaders

BEST = Policy(Every(epochs=1), KeepBest(1, by=VAL))


def test_one_line_at_the_end_says_why_and_so_does_the_error_of_a_test(tmp_path, caplog):
    module, fitter, ours = fit(tmp_path, BEST, val_check_interval=3, max_epochs=2)
    assert ours.best() is None
    assert caplog.text.count("is the best by val_loss: it was measured, but never at a step that was saved") == 1
    with pytest.raises(
        ResumeError, match=r'ckpt_path="best": .*never at a step that was saved.* pass ckpt_path='
    ) as no:
        fitter.test(module, loaders()[1], ckpt_path="best")
    assert "ModelCheckpoint" not in str(no.value)
    assert ours.best_model_path == "", "as loggers expect"
    caplog.clear()
    fit(tmp_path / "ranked", BEST, max_epochs=1)
    assert "is the best by" not in caplog.text


def test_a_policy_that_ranks_nothing_says_what_to_add(tmp_path):
    module, fitter, _ = fit(tmp_path, Policy(Every(epochs=1), KeepAll()), max_epochs=1)
    with pytest.raises(ResumeError, match="the policy has no rule with a metric; add one"):
        fitter.test(module, loaders()[1], ckpt_path="best")
    assert LightningCheckpoint(tmp_path, BEST).best() is not None


def test_a_short_run_without_the_metric_says_so_at_its_end_and_where_the_best_is_asked_for(tmp_path, caplog):
    stop = Patience(Metric("robustness", mode="max"), checks=3)
    policy = Policy(Every(epochs=1), KeepBest(1, by=Metric("lossval", mode="min")), stop)
    _, _, ours = fit(tmp_path, policy, max_epochs=1)
    why = "it was never logged; logged names: train_loss, train_loss_epoch, val_loss"
    assert f"no checkpoint of this run is the best by lossval: {why}" in caplog.text
    assert f"the rules that read robustness never ran: {why}" in caplog.text
    assert "best() is None" not in caplog.text, "nobody has asked"
    assert ours.best() is None and ours.best_model_path == "" and ours.best_model_score is None
    assert caplog.text.count(f"{tmp_path}: best() is None: no checkpoint can be ranked by lossval: {why}") == 1
