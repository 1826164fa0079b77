"""A run directory as a program reads it that does not train: the checkpoints by the policy in the manifest."""

import os
import subprocess
import sys

import pytest

from ckpt_callbacks import EventKind, Improves, KeepBest, KeepLast, Metric, Policy, StoreError, open_run
from ckpt_callbacks.config import Config
from ckpt_callbacks.run.reader import RunReader
from ckpt_callbacks.store.manifest import Manifest
from tests.support.processes import ENVIRONMENT
from tests.support.training import new_run, report, start

ACC = Metric("acc", mode="max")
POLICY = Policy(Improves(ACC) | Improves(Metric("loss")), KeepBest(2, by=ACC) | KeepLast(2))


def train(dirpath, losses=(3.0, 2.0, 1.0)):
    """Train with an accuracy of which the second is the best, and stay open."""
    run = new_run(dirpath, POLICY, background=False, described=Config(POLICY).described)
    run.open()
    start(run)
    for epoch, loss in enumerate(losses, 1):
        metrics = {"loss": loss, "acc": 0.9 if epoch == 2 else 0.5}
        report(run, EventKind.EPOCH_END, step=10 * epoch, epoch=epoch, complete=True, metrics=metrics)
    return run


def contents(dirpath):
    return {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in dirpath.rglob("*")}


def test_it_answers_as_the_callback_does_and_changes_nothing(tmp_path, monkeypatch):
    run = train(tmp_path / "a")
    run.close()
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    saved = open_run("a")
    monkeypatch.chdir("/")
    assert saved.best() == run.view.best() and saved.best().step == 20
    assert saved.last() == run.view.last() and saved.final() == run.view.final()
    assert saved.records() == run.view.records() and saved.policy == POLICY
    assert saved.resume_path() == str(tmp_path / "a" / saved.last().file)
    os.utime(saved.last().path)  # so that the test can see a change
    assert contents(tmp_path) != before
    (tmp_path / "a" / saved.last().file).write_bytes(b"damaged")
    before = contents(tmp_path)
    assert saved.resume_path() == str(saved.best().path)
    assert contents(tmp_path) == before


def test_it_follows_a_run_that_trains(tmp_path):
    run = train(tmp_path)
    saved = open_run(tmp_path)
    assert saved.last().step == 30
    report(run, EventKind.EPOCH_END, step=40, epoch=4, complete=True, metrics={"loss": 0.5, "acc": 0.95})
    assert saved.last().step == saved.best().step == 40
    run.close()


def test_it_needs_neither_framework(tmp_path):
    train(tmp_path).close()
    code = (
        "import sys, ckpt_callbacks; print(ckpt_callbacks.open_run(sys.argv[1]).best().step, "
        "[name for name in ('torch', 'keras', 'lightning', 'tensorflow', 'numpy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, tmp_path]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True).stdout == "20 []\n"


def test_without_the_policy_the_link_says_what_is_best(tmp_path):
    train(tmp_path).close()
    journal = Manifest.read(tmp_path).layout.journal
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '{"attempt"' not in line))
    saved = open_run(tmp_path)
    assert saved.policy is None and saved.best().step == 20


@pytest.mark.parametrize("name, why", [("x", "does not exist"), ("file", "is a file"), ("", "such as ")])
def test_what_is_no_run_directory_is_one_line(tmp_path, name, why):
    train(tmp_path / "a").close()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        open_run(tmp_path / name)
    assert why in str(caught.value) and "expected a run directory" in str(caught.value)


def test_it_leaves_out_what_is_missing_until_it_is_back(tmp_path, caplog):
    run = train(tmp_path)
    run.close()
    saved = open_run(tmp_path)
    best, last = saved.best(), saved.last()
    others = [record for record in saved.records() if record != best]
    assert (best.step, last.step) == (20, 30) and last in others
    os.rename(best.path, tmp_path / "aside")
    for _ in range(2):
        assert saved.best() in others and saved.last() == last
        assert saved.records() == others
        assert saved.resume_path() == str(last.path)
    assert caplog.messages == [f"{best.path}: missing, so another checkpoint takes its place, if there is one"]
    os.rename(tmp_path / "aside", best.path)
    assert (saved.best(), len(saved.records())) == (best, len(others) + 1)


@pytest.mark.parametrize("policy", [True, False])
def test_there_is_no_best_if_all_are_missing(tmp_path, policy, caplog):
    run = train(tmp_path)
    run.close()
    if not policy:
        journal = Manifest.read(tmp_path).layout.journal
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if '{"attempt"' not in line))
    saved = open_run(tmp_path)
    for record in saved.records():
        record.path.unlink()
    assert saved.best() is saved.last() is saved.final() is saved.resume_path() is None
    assert saved.records() == [] and all("missing" in message for message in caplog.messages)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_callback_answers_the_same(tmp_path, is_open):
    run = train(tmp_path)
    if not is_open:
        run.close()
        run = new_run(tmp_path, POLICY, background=False)
    callback = RunReader(lambda _: run, run.settings)
    best, last = callback.best(), callback.last()
    others = [record for record in callback.records() if record != best]
    best.path.unlink()
    assert callback.best() in others and callback.last() == last and callback.records() == others
    run.close()


def test_the_log_says_once_why_there_is_no_best(tmp_path, caplog):
    policy = Policy(Improves(Metric("loss")), KeepBest(1, by=ACC), best_by=ACC)
    run = new_run(tmp_path, policy, background=False, described=Config(policy).described)
    run.open()
    start(run)
    saved = open_run(tmp_path)
    assert saved.best() is None and "best() is None" not in caplog.text, "there is no checkpoint"
    report(run, EventKind.EPOCH_END, step=10, epoch=1, complete=True, metrics={"loss": 1.0, "val_acc": 0.5})
    assert saved.best() is saved.best() is None
    why = "none of them has a value of it; they have values of loss, val_acc; did you mean 'val_acc'?"
    assert caplog.text.count(f"{tmp_path}: best() is None: no checkpoint can be ranked by acc: {why}") == 1
    run.close()
