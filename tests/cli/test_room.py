"""``ckpt du``, ``prune`` and ``gc``: how much room runs take, and what can be freed."""

import json
import os
import shutil

import pytest

from ckpt_callbacks import EventKind, Every, KeepAll, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.config import Config
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.cli.command_line import ckpt
from tests.support.training import StartedRun, new_run, report

VAL = Metric("val_loss", mode="min")
MISSPELT = Metric("val_los", mode="min")
RANKED = Policy(Every(epochs=1), KeepLast(2) | KeepBest(2, by=VAL))
LOSSES = (0.1, 0.5, 0.2, 0.4, 0.3)
SIZE = 2000
TWO = "save: {every: {epochs: 1}}\nkeep: {last: 2}\n"


def train(dirpath, policy=RANKED, **settings):
    """Save after each of five epochs, and return the run directory."""
    settings |= {"described": Config(policy).described, "filename": "{epoch}", "background": False}
    with StartedRun(new_run(dirpath, policy, suffix=".ckpt", **settings)) as training:
        for epoch, loss in enumerate(LOSSES, start=1):
            report(training.run, EventKind.EPOCH_END, step=10 * epoch, epoch=epoch, complete=True,
                   metrics={"val_loss": loss}, stage=FakeWriter(os.urandom(SIZE)))  # fmt: skip
    return dirpath


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return {"ranked": train(folder / "ranked"), "all": train(folder / "all", Policy(Every(epochs=1), KeepAll()))}


@pytest.fixture
def ranked(made, tmp_path):
    return shutil.copytree(made["ranked"], tmp_path / "ranked", symlinks=True)


@pytest.fixture
def everything(made, tmp_path):
    return shutil.copytree(made["all"], tmp_path / "all", symlinks=True)


def files(run_dir):
    return sorted(path.name for path in run_dir.glob("[0-9]*.ckpt"))


def test_du_shows_the_room_of_each_rule_each_kind_of_contents_and_each_link(ranked):
    code, out, err = ckpt("du", ranked)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()][1:-1] == [
        ["rule", "best", "2", "by", "val_loss", "2", "4.0", "kB"],
        ["rule", "last", "2", "2", "4.0", "kB"],
        ["rule", "newest", "resumable", "1", "2.0", "kB"],
        ["contents", "full", "4", "8.0", "kB"],
        ["link", "best", "1", "2.0", "kB"],
        ["link", "last", "1", "2.0", "kB"],
        ["total", "4", "8.0", "kB"],
    ]
    assert out.splitlines()[-1].startswith("directory ")


def test_du_prints_plain_numbers_as_json_with_the_budget(tmp_path):
    train(tmp_path, max_total_size=10 * SIZE)
    facts = json.loads(ckpt("du", tmp_path, "--json")[1])
    assert facts["total"] == {"checkpoints": 4, "size": 4 * SIZE} and facts["max_total_size"] == 10 * SIZE
    assert facts["link"]["best"] == {"checkpoints": 1, "size": SIZE}
    assert facts["directory"] >= 4 * SIZE
    assert "8.0 kB; of max_total_size=20.0 kB, 40% are used" in ckpt("du", tmp_path)[1]


def test_du_lists_what_goes_next_and_says_if_nothing_may(ranked):
    rows = [json.loads(line) for line in ckpt("du", ranked, "--what-next", "--json")[1].splitlines()]
    assert [(row["file"], row["left"]) for row in rows] == [("4.ckpt", 3 * SIZE), ("3.ckpt", 2 * SIZE)]
    assert [line.split()[:4] for line in ckpt("du", ranked, "--what-next")[1].splitlines()[1:]] == [
        ["4", "4.ckpt", "2.0", "kB"], ["3", "3.ckpt", "2.0", "kB"],
    ]  # fmt: skip
    ckpt("pin", ranked, "4")
    ckpt("tag", ranked, "3", "release")
    assert "nothing may be deleted" in ckpt("du", ranked, "--what-next")[1]


def test_du_lists_first_what_no_rule_keeps(everything, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("save: {every: {epochs: 1}}\nkeep: {last: 3}\n")
    asked = ("du", everything, "--what-next", "--config", policy)
    rows = [json.loads(line) for line in ckpt(*asked, "--json")[1].splitlines()]
    assert [(row["id"], row["left"]) for row in rows] == [(id_, (5 - id_) * SIZE) for id_ in (1, 2, 3, 4)]
    lines = ckpt(*asked)[1].splitlines()[1:]
    assert "nothing; the next save deletes it" in lines[1] and "last 3" in lines[2]
    ckpt("tag", everything, "3", "release")
    ckpt("pin", everything, "1")
    policy.write_text(TWO)
    assert [line.split()[1] for line in ckpt(*asked)[1].splitlines()[1:]] == ["2.ckpt", "4.ckpt"]
    assert "2.ckpt: would be deleted" in ckpt("prune", everything, "--config", policy, "--dry-run")[1]


def test_while_the_metric_was_never_logged_nothing_goes_next_and_prune_refuses(everything, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(Config(Policy(Every(epochs=1), KeepLast(2) | KeepBest(1, by=MISSPELT))).to_yaml())
    why = f"{everything}: 'val_los' was never logged; nothing is deleted"
    asked = ("du", everything, "--what-next", "--config", policy)
    assert ckpt(*asked) == (0, f"{why} until it is\n", "")
    assert ckpt(*asked, "--json") == (0, "", f"{why} until it is\n")
    assert ckpt("prune", everything, "--config", policy) == (2, "", f"Error: {why}\n")
    assert len(files(everything)) == 5


def test_prune_frees_what_another_policy_does_not_keep_but_never_what_is_named(everything, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(TWO)
    assert ckpt("prune", everything) == (0, f"{everything}: nothing to delete\n", "")
    code, out, _ = ckpt("prune", everything, "--config", policy, "--dry-run")
    assert (code, len(files(everything))) == (0, 5)
    assert out.splitlines()[-1] == f"{everything}: 3 checkpoints, 6.0 kB would be freed"
    ckpt("pin", everything, "2")
    ckpt("tag", everything, "1", "release")
    code, out, _ = ckpt("prune", everything, "--config", policy)
    assert (code, files(everything)) == (0, ["1.ckpt", "2.ckpt", "4.ckpt", "5.ckpt"])
    assert out.splitlines() == [f"{everything}/3.ckpt: deleted", f"{everything}: 1 checkpoint, 2.0 kB freed"]
    assert ckpt("doctor", everything, "--dry-run")[0] == 0


def test_prune_works_while_a_run_trains(everything, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(TWO)
    layout = Manifest.read(everything).layout
    lock = TrainingLock(layout.training_lock, layout.owner, "test")
    lock.acquire()
    try:
        assert ckpt("prune", everything, "--config", policy)[0] == 0
        assert files(everything) == ["4.ckpt", "5.ckpt"]
    finally:
        lock.release()


def test_a_plan_is_carried_out_as_long_as_it_still_holds(everything, tmp_path):
    policy, plan = tmp_path / "policy.yaml", tmp_path / "plan.jsonl"
    policy.write_text(TWO)
    assert ckpt("prune", everything, "--config", policy, "--plan", plan)[1] == f"{plan}: 3 checkpoints to delete\n"
    assert [json.loads(line)["file"] for line in plan.read_text().splitlines()] == ["1.ckpt", "2.ckpt", "3.ckpt"]
    assert len(files(everything)) == 5

    ckpt("pin", everything, "2")
    code, _, err = ckpt("prune", everything, "--apply", plan)
    assert (code, len(files(everything))) == (2, 5), "nothing is deleted, because one of them must stay"
    assert f"{plan}, line 2: 2.ckpt must stay: pinned; plan again" in err
    ckpt("unpin", everything, "2")
    assert ckpt("prune", everything, "--apply", plan)[0] == 0
    assert files(everything) == ["4.ckpt", "5.ckpt"]
    assert "line 1: there is no such checkpoint any more: 1.ckpt" in ckpt("prune", everything, "--apply", plan)[2]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("delete everything", "line 1: is not a removal"),
        ('{"version": 2, "action": "delete"}', "line 1: is not a removal"),
        ('\n["delete", 1]', "line 2: is not a removal"),
        ('{"version": 1, "action": "delete", "id": 99, "file": "x.ckpt"}', "line 1: there is no such checkpoint"),
        ('{"version": 1, "action": "delete", "id": [1], "file": "x.ckpt"}', "line 1: is not a removal"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(everything, tmp_path, line, problem):
    (tmp_path / "plan").write_text(line)
    code, out, err = ckpt("prune", everything, "--apply", tmp_path / "plan")
    assert (code, out, len(err.splitlines()), len(files(everything))) == (2, "", 1, 5)
    assert problem in err


def test_gc_frees_what_the_policies_of_dead_runs_do_not_keep(tmp_path):
    root = tmp_path / "runs"
    for name in ("dead", "tagged", "live"):
        train(root / name, Policy(Every(epochs=1), KeepAll()))
        manifest = Manifest.read(root / name)
        described = Config(Policy(Every(epochs=1), KeepLast(2))).described
        attempt = manifest.attempts[-1]
        manifest.start(type(attempt)(attempt.run, 2, 5, attempt.wall, {**attempt.facts, "policy": described}))
    ckpt("tag", root / "tagged", "1", "release")
    layout = Manifest.read(root / "live").layout
    lock = TrainingLock(layout.training_lock, layout.owner, "test")
    lock.acquire()
    try:
        code, out, err = ckpt("gc", root, "--dead")
        assert (code, err, len(files(root / "dead"))) == (0, "", 5), "dry run by default"
        assert f"{root}/dead: 3 checkpoints, 6.0 kB would be freed" in out
        assert f"{root}/tagged: left alone: 1.ckpt is tagged release" in out
        assert f"{root}/live: left alone: training is running" in out
        assert ckpt("gc", root, "--dead", "--delete")[0] == 0
    finally:
        lock.release()
    assert [len(files(root / name)) for name in ("dead", "tagged", "live")] == [2, 5, 5]


def test_a_command_that_holds_the_directory_is_no_training(ranked):
    layout = Manifest.read(ranked).layout
    lock = TrainingLock(layout.training_lock, layout.owner, "ckpt doctor")
    lock.acquire()
    try:
        assert ckpt("gc", ranked.parent, "--dead")[1] == f"{ranked}: left alone: `ckpt doctor` is at work\n"
        assert ckpt("save", ranked) == (1, "", f"{ranked}: no training is running here\n")
        assert json.loads(ckpt("ls", ranked.parent, "--json")[1])["training"] is False
    finally:
        lock.release()


def test_gc_refuses_a_folder_without_runs(tmp_path):
    code, _, err = ckpt("gc", tmp_path, "--dead")
    assert code == 2 and err == f"Error: {tmp_path}: holds no run directory; expected a folder of runs, such as runs\n"


def test_gc_names_only_runs_with_something_to_delete(tmp_path):
    for name in ("a", "b"):
        train(tmp_path / "runs" / name, Policy(Every(epochs=1), KeepAll()))
    root = tmp_path / "runs"
    assert ckpt("gc", root, "--dead") == (0, f"{root}: nothing to delete in 2 of 2 runs\n", "")
