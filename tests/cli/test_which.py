"""The ways to name one checkpoint, and ``ckpt path`` and ``ckpt check``."""

import shutil

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Policy, Status
from ckpt_callbacks.config import Config
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.cli.command_line import ckpt
from tests.support.training import new_run, report, start


@pytest.mark.parametrize("file", ["004.ckpt", "last.ckpt", "best.ckpt"])
def test_the_path_of_a_checkpoint_names_it(run_dir, file, monkeypatch):
    monkeypatch.chdir(run_dir)
    for path in (run_dir / file, file):
        assert ckpt("show", path)[1].startswith("id: 4\n")
        assert ckpt("path", path)[1].endswith("004.ckpt\n")
        assert ckpt("verify", path)[1].endswith("1 of 1 checkpoint verified\n")
        assert ckpt("pin", path)[0] == ckpt("unpin", path)[0] == 0


@pytest.mark.parametrize("command", ["show", "path", "pin", "rm"])
@pytest.mark.parametrize("within", ["", "003.ckpt/x", "nothing.ckpt"])
def test_a_path_that_names_none_is_one_clear_line(run_dir, command, within):
    code, out, err = ckpt(command, run_dir / within)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("has no checkpoint" if within == "nothing.ckpt" else "which checkpoint? expected") in err


def test_a_copy_outside_of_every_run_is_named_as_such(run_dir, tmp_path):
    copy = shutil.copy(run_dir / "004.ckpt", tmp_path / "copy.ckpt")
    for command in ("show", "path", "pin", "rm"):
        code, out, err = ckpt(command, copy)
        assert (code, out, err.count("\n")) == (2, "", 1) and f"{copy}: is not in a run directory" in err


def test_path_prints_a_path_and_nothing_else(run_dir):
    assert ckpt("path", run_dir, "best") == (0, f"{run_dir}/004.ckpt\n", "")
    code, out, err = ckpt("path", run_dir, "1")
    assert (code, out) == (2, "")
    assert "its status is deleted" in err


def test_verify_of_one_reads_only_that_one(run_dir):
    (run_dir / "003.ckpt").write_bytes(b"?")
    assert ckpt("verify", run_dir, "best") == (0, f"ok   {run_dir}/004.ckpt\n1 of 1 checkpoint verified\n", "")
    assert ckpt("verify", run_dir, "3")[0] == 1
    assert ckpt("verify", run_dir, "3", "--json")[1].count("\n") == 1


def test_verify_mentions_a_bad_file_until_it_is_gone(run_dir):
    (run_dir / "003.ckpt").write_bytes(b"?")
    assert ckpt("verify", run_dir)[0] == 1
    ckpt("doctor", run_dir)
    assert Manifest.read(run_dir).records[3].status is Status.FAILED
    code, out, _ = ckpt("verify", run_dir)
    assert code == 1
    known = f"bad, as recorded: {run_dir}/003.ckpt: {run_dir}/003.ckpt: has 1 bytes; the manifest says 2345"
    assert known in out and out.endswith("1 of 1 checkpoint verified\n")
    code, _, err = ckpt("rm", run_dir, "003.ckpt")
    assert code == 2 and "is not what was saved" in err and "pass --force" in err
    assert ckpt("rm", run_dir, "003.ckpt", "--force") == (0, f"{run_dir}/003.ckpt: deleted\n", "")
    code, out, _ = ckpt("verify", run_dir)
    assert code == 0 and "known" not in out


def test_rm_of_a_failed_save_says_that_nothing_is_left(run_dir):
    code, out, err = ckpt("rm", run_dir, "5", "--force")
    assert (code, out) == (2, "") and "nothing is left of it" in err


@pytest.mark.parametrize("which", ["4", "40", "last", "last.ckpt", "best.ckpt", "004.ckpt"])
def test_a_checkpoint_has_the_same_names_in_every_command(run_dir, which):
    for command in ("show", "path", "verify", "pin", "unpin"):
        code, out, _ = ckpt(command, run_dir, which)
        assert code == 0 and f"{run_dir}/004.ckpt" in out, command
    assert ckpt("tag", run_dir, which, "stable")[0] == ckpt("untag", run_dir, which, "stable")[0] == 0
    assert ckpt("rm", run_dir, which, "--force")[0] == 0


def test_a_policy_without_a_metric_is_why_there_is_no_best(tmp_path):
    policy = Policy(save=Every(epochs=1), keep=KeepLast(1))
    run = new_run(tmp_path, policy, suffix=".ckpt", described=Config(policy).described)
    run.open()
    start(run)
    report(run, EventKind.EPOCH_END, step=10, epoch=1, complete=True, stage=FakeWriter(b"x"))
    run.close()
    for command in ("pin", "rm", "show"):
        assert (
            "has no 'best' checkpoint yet: the policy has no rule with a metric" in ckpt(command, tmp_path, "best")[2]
        )


def test_check_reads_a_policy_without_training(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text("save: {every: {epochs: 1}}\nkeep: {last: 3}\n")
    code, out, err = ckpt("check", path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{path}: no mistakes"
    assert "Every(epochs=1)" in out and "KeepLast(n=3)" in out
    path.write_text("save: {evry: {epochs: 1}}\nkeep: 5\n")
    code, out, err = ckpt("check", path)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 2 and "did you mean" in err.lower()


@pytest.mark.parametrize("command", ["check", "explain"])
def test_a_file_that_is_none_is_one_line(tmp_path, command):
    missing = tmp_path / "missing.yaml"
    assert ckpt(command, missing) == (2, "", f"Error: {missing}: does not exist; expected a file\n")
    assert ckpt(command, tmp_path) == (2, "", f"Error: {tmp_path}: is a folder; expected a file\n")


def test_check_names_a_grace_period_that_no_rule_uses(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("save: {every: {epochs: 1}}\ngrace: 5 s\n")
    code, _, err = ckpt("check", path)
    assert code == 0 and err.startswith(f"{path}: grace is 5 s, but has no effect") and "on_preempt" in err
    path.write_text("save: [{every: {epochs: 1}}, on_preempt]\ngrace: 5 s\n")
    assert ckpt("check", path)[2] == ""


@pytest.mark.parametrize("command", ["show", "path", "pin", "rm", "verify"])
def test_the_checkpoint_of_another_run_names_none_of_this_one(run_dir, tmp_path, command, monkeypatch):
    """Not even one of the same name, although a link of the other run says no more than this name."""
    other = shutil.copytree(run_dir, tmp_path / "other", symlinks=True)
    monkeypatch.chdir(tmp_path)
    for which in (other / "last.ckpt", "../other/best.ckpt", "other/004.ckpt", "other"):
        code, out, err = ckpt(command, run_dir, which)
        assert (code, out, err.count("\n")) == (2, "", 1) and f"{run_dir}: has no checkpoint" in err
    assert ckpt(command, run_dir / "004.ckpt", "3")[0] == 2


def test_options_for_one_run_are_refused_for_several(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "other", symlinks=True)
    for option in ("--why", "--all"):
        code, out, err = ckpt("ls", tmp_path, option)
        assert (code, out, err.count("\n")) == (2, "", 1) and f"{option}: got 2 runs; expected the directory of" in err
    assert len(ckpt("ls", tmp_path, run_dir)[1].splitlines()) == 3
