"""The hint that a new run may have been meant to resume one in a directory with a similar path."""

import pytest

from ckpt_callbacks import Every, Policy
from ckpt_callbacks.run.similar_directory import similar_run
from tests.support.training import new_run, start


def train(dirpath, resumes=True):
    run = new_run(dirpath, Policy(Every(epochs=1)), background=False)
    run.directory.announcements.always_resumes = resumes
    run.open()
    start(run)
    run.close()


@pytest.mark.parametrize(
    "typed, meant",
    [("rusn/a/v", "runs/a/v"), ("runs/digist", "runs/digits"), ("run/a", "runs/a"), ("Runs/a", "runs/a")],
)
def test_a_misspelt_path_names_the_one_that_was_meant(tmp_path, caplog, typed, meant):
    train(tmp_path / meant)
    train(tmp_path / typed)
    line = f"{tmp_path / typed}: holds no run to resume; did you mean {tmp_path / meant}, which holds one?"
    assert line in caplog.messages
    caplog.clear()
    train(tmp_path / typed)  # now, it holds a run of its own
    assert "did you mean" not in caplog.text


@pytest.mark.parametrize(
    "other",
    ["runs/trial_2", "runs/trial2", "runs/trial-10", "runs/val", "runs/by_step", "runs/experiment_1/b", "runs/東京"],
)
def test_other_runs_of_a_sweep_are_no_misspellings(tmp_path, other):
    (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
    train(tmp_path / other)
    for name in ("trial_1", "trial1", "trial-01", "test", "by_epoch", "experiment_2/b", "大阪"):
        assert similar_run(tmp_path / "runs" / name) is None


def test_who_does_not_resume_is_asked_nothing(tmp_path, caplog):
    train(tmp_path / "runs")
    train(tmp_path / "rusn", resumes=False)
    (tmp_path / "drafts").mkdir()  # a similar folder without a run
    train(tmp_path / "draft")
    assert "did you mean" not in caplog.text
