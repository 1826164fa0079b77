"""``ckpt pin``, ``unpin``, ``tag``, ``untag`` and ``rm``."""

import os
import subprocess

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, KeepTagged, Policy, Status
from ckpt_callbacks.cli.records import Listing
from ckpt_callbacks.config import Config
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock, FakeWriter
from tests.cli.command_line import COMMAND, ckpt
from tests.support.processes import ENVIRONMENT
from tests.support.training import StartedRun, new_run, report

LAST = Policy(save=Every(epochs=1), keep=KeepLast(1))


def records(run_dir):
    return Manifest.read(run_dir).records


class Training(StartedRun):
    """A run that saves at the end of each epoch."""

    def __init__(self, dirpath, policy=LAST, **settings):
        self.clock = FakeClock()
        settings |= {"filename": "{epoch}", "clock": self.clock, "described": Config(policy).described}
        super().__init__(new_run(dirpath, policy, suffix=".ckpt", **settings))

    def epoch(self, number):
        self.clock.advance(1)
        writer = FakeWriter(b"%d" % number)
        report(self.run, EventKind.EPOCH_END, step=10 * number, epoch=number, complete=True, stage=writer)
        self.run.wait()

    def step(self, number):
        self.clock.advance(1)
        report(self.run, EventKind.STEP_END, step=number, epoch=number // 10, stage=FakeWriter(b"step %d" % number))
        self.run.wait()


@pytest.fixture
def training(tmp_path):
    with Training(tmp_path / "run") as training:
        yield training


def files(training):
    return sorted(path.name for path in training.run.dirpath.glob("[0-9]*.ckpt"))


@pytest.mark.parametrize("which", ["1", "last", "1.ckpt", "{run_dir}/1.ckpt"])
def test_a_checkpoint_that_another_process_pins_survives_until_it_is_unpinned(training, which):
    run_dir = training.run.dirpath
    training.epoch(1)
    assert ckpt("pin", run_dir, which.format(run_dir=run_dir))[0] == 0
    training.epoch(2)
    training.epoch(3)
    assert files(training) == ["1.ckpt", "3.ckpt"]
    assert "pinned" in ckpt("ls", run_dir)[1]
    assert ckpt("unpin", run_dir, "1")[1] == f"{run_dir}/1.ckpt: unpinned: the policy decides whether it is kept\n"
    training.epoch(4)
    assert files(training) == ["4.ckpt"]


def test_the_last_one_is_pinned_even_if_it_is_another_one_by_now(training, monkeypatch):
    run_dir, find, later = training.run.dirpath, Listing.find, [2, 3]
    training.epoch(1)

    def found_too_early(listing, *arguments, **named):
        found = find(listing, *arguments, **named)
        if later:
            training.epoch(later.pop(0))  # deletes what was found
        return found

    monkeypatch.setattr(Listing, "find", found_too_early)
    assert ckpt("pin", run_dir, "last")[:2] == (0, f"{run_dir}/3.ckpt: pinned: no retention rule deletes it\n")
    training.epoch(4)
    assert files(training) == ["3.ckpt", "4.ckpt"]


def test_a_tag_counts_for_the_rule_that_keeps_it_and_a_remark_says_so_otherwise(tmp_path):
    keep = KeepLast(1) | KeepTagged("release")
    with Training(tmp_path, Policy(LAST.save, keep)) as training:
        training.epoch(1)
        assert ckpt("tag", tmp_path, "1", "release")[1] == f"{tmp_path}/1.ckpt: tagged release\n"
        assert f"`ckpt pin {tmp_path} 1` does" in ckpt("tag", tmp_path, "1", "stable")[1]
        training.epoch(2)
        assert files(training) == ["1.ckpt", "2.ckpt"]
        assert records(tmp_path)[1].tags == ("release", "stable")
        assert ckpt("show", tmp_path, "release")[1].startswith("id: 1\n")
        ckpt("untag", tmp_path, "stable", "release")
        training.epoch(3)
        assert files(training) == ["3.ckpt"]


@pytest.mark.parametrize("command", ["pin", "tag"])
def test_what_is_pinned_or_tagged_between_the_plan_and_the_deletion_survives(training, monkeypatch, command):
    """The command comes when retention has decided to delete the checkpoint, and before the journal says so."""
    training.epoch(1)
    run_dir, amend, told = training.run.dirpath, Manifest.amend, []

    def late(manifest, id_, facts_of):
        if manifest is training.run.directory.manifest and id_ == 1 and not told:
            told.append(ckpt(command, run_dir, "1", *(["stable"] if command == "tag" else [])))
        return amend(manifest, id_, facts_of)

    monkeypatch.setattr(Manifest, "amend", late)
    training.epoch(2)
    assert told[0][0] == 0
    assert files(training) == ["1.ckpt", "2.ckpt"]
    training.epoch(3)
    assert files(training) == (["1.ckpt", "3.ckpt"] if command == "pin" else ["3.ckpt"])


def test_tags_of_two_processes_at_once_are_all_kept(run_dir):
    names = [f"tag{n}" for n in range(3)]
    running = [subprocess.Popen([*COMMAND, "tag", run_dir, "3", name], env=ENVIRONMENT) for name in names]
    assert [process.wait() for process in running] == [0] * len(names)
    assert set(records(run_dir)[3].tags) == set(names)


@pytest.mark.parametrize("name", ["", "7", "best", "a\nb", "\x1b[31m", " a"])
def test_a_name_that_cannot_be_a_tag_is_refused(run_dir, name):
    code, out, err = ckpt("tag", run_dir, "4", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "\x1b" not in err
    assert err.startswith("Error: tag: got ")
    assert records(run_dir)[4].tags == ()


def test_a_save_on_request_is_pinned_and_gets_the_tags_of_all_requests(training):
    run_dir = training.run.dirpath
    assert ckpt("save", run_dir, "--tag", "before")[0] == 0
    assert ckpt("save", run_dir)[0] == 0
    assert ckpt("save", run_dir, "--tag", "drop")[0] == 0
    training.step(5)
    assert not (run_dir / "SAVE_NOW").exists()
    for number in (1, 2, 3):
        training.epoch(number)
    assert files(training) == ["0.ckpt", "3.ckpt"]
    assert (records(run_dir)[1].tags, records(run_dir)[1].pinned) == (("before", "drop"), True)
    assert not records(run_dir)[4].pinned
    ckpt("save", run_dir, "--tag", "later")
    training.step(35)
    assert records(run_dir)[5].tags == ("later",)


def test_a_request_at_the_step_of_another_save_pins_that_one(tmp_path):
    with Training(tmp_path) as training:
        training.clock.advance(1)
        ckpt("save", tmp_path, "--tag", "mine")
        training.epoch(1)
        assert files(training) == ["1.ckpt"]
        assert (records(tmp_path)[1].tags, records(tmp_path)[1].pinned) == (("mine",), True)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_a_request_file_of_another_kind_is_neither_read_nor_written(training, tmp_path, kind):
    save_now, target = training.run.dirpath / "SAVE_NOW", tmp_path / "target"
    target.write_text("stable\n")
    {"folder": save_now.mkdir, "pipe": lambda: os.mkfifo(save_now), "link": lambda: save_now.symlink_to(target)}[kind]()
    code, _, err = ckpt("save", training.run.dirpath, "--tag", "mine")
    assert (code, err.count("\n")) == (2, 1)
    assert "Traceback" not in err
    assert target.read_text() == "stable\n"
    training.step(5)
    assert records(training.run.dirpath)[1].tags == ()


def test_rm_deletes_one_and_asks_before_what_somebody_needs(run_dir):
    assert ckpt("rm", run_dir, "3") == (0, f"{run_dir}/003.ckpt: deleted\n", "")
    assert not (run_dir / "003.ckpt").exists() and records(run_dir)[3].status is Status.DELETED
    code, out, err = ckpt("rm", run_dir, "best")
    assert (code, out) == (2, "")
    assert err == (
        f"Error: {run_dir}/004.ckpt: is not deleted: it is last, and it is best, and a run would resume from it; "
        "pass --force to delete it anyway\n"
    )
    removed = ckpt("rm", run_dir, "best", "--force")[1]
    assert removed == f"{run_dir}/004.ckpt: deleted; there is no last any more; there is no best any more\n"
    assert not list(run_dir.glob("[!.]*.ckpt")), "the links go with it"
    assert "is saved, and neither deleted nor failed" in ckpt("rm", run_dir, "4", "--force")[2]


def test_rm_of_the_last_moves_the_links_and_a_pinned_one_needs_force(run_dir):
    ckpt("pin", run_dir, "3")
    assert "it is pinned; pass --force" in ckpt("rm", run_dir, "3")[2]
    assert ckpt("rm", run_dir, "last", "--force")[1].startswith(f"{run_dir}/004.ckpt: deleted; last is now 003.ckpt")
    assert (run_dir / "last.ckpt").readlink().name == "003.ckpt"
    assert ckpt("rm", run_dir, "3", "--force")[0] == 0


def test_rm_while_a_run_trains(tmp_path):
    with Training(tmp_path, Policy(LAST.save, KeepLast(3))) as training:
        for number in (1, 2):
            training.epoch(number)
        code, _, err = ckpt("rm", tmp_path, "last", "--force")
        assert code == 2
        assert "a training run is writing here" in err
        assert ckpt("rm", tmp_path, "1")[0] == 0
        assert files(training) == ["2.ckpt"]
        training.epoch(3)
        assert files(training) == ["2.ckpt", "3.ckpt"]
        assert [record.epoch for record in training.run.view.records()] == [2, 3]
    assert ckpt("doctor", tmp_path, "--dry-run")[0] == 0


def test_ls_does_not_call_a_file_missing_that_is_being_deleted(run_dir, monkeypatch):
    from ckpt_callbacks.cli import records as module

    policy_of, trainer = module.Listing.__init__, Manifest.read(run_dir)

    def late(listing, manifest, policy=None, **named):
        if trainer.records[3].status is not Status.DELETED:  # the training run deletes it once the journal was read
            trainer.change(3, status=Status.DELETED)
            (run_dir / "003.ckpt").unlink()
        policy_of(listing, manifest, policy, **named)

    monkeypatch.setattr(module.Listing, "__init__", late)
    out = ckpt("ls", run_dir)[1]
    assert "missing" not in out and "003.ckpt" not in out
    (run_dir / "004.ckpt").unlink()
    assert "  missing  " in ckpt("ls", run_dir)[1]


def test_the_lock_of_a_removal_is_released(run_dir):
    ckpt("rm", run_dir, "last")
    layout = Manifest(run_dir).layout
    lock = TrainingLock(layout.training_lock, layout.owner, "test")
    lock.acquire()
    lock.release()


def test_a_tag_that_is_the_name_of_another_file_makes_rm_delete_nothing_else(tmp_path):
    with Training(tmp_path, Policy(save=Every(epochs=1), keep=KeepLast(3))) as training:
        for number in (1, 2, 3):
            training.epoch(number)
    Manifest.read(tmp_path).change(1, tags=("2.ckpt",))  # `ckpt tag` refuses it, and earlier versions did not
    assert ckpt("rm", tmp_path, "2.ckpt")[0] == 0
    assert ckpt("rm", tmp_path, "2.ckpt")[0] != 0
    assert files(training) == ["1.ckpt", "3.ckpt"]


@pytest.mark.parametrize("name", ["1.ckpt", "2.ckpt", "last.ckpt"])
def test_the_name_of_a_file_is_no_tag(training, name):
    training.epoch(1)
    training.epoch(2)
    run_dir = training.run.dirpath
    for command in (["tag", run_dir, "2", name], ["save", run_dir, "--tag", name]):
        code, out, err = ckpt(*command)
        assert (code, out, err.count("\n")) == (2, "", 1) and f"got {name!r}, the name of a checkpoint's file" in err
    assert records(run_dir)[2].tags == () and not (run_dir / "SAVE_NOW").exists()


def test_rm_refuses_a_name_that_could_mean_two_checkpoints(tmp_path):
    with Training(tmp_path, Policy(save=Every(epochs=1), keep=KeepLast(9))) as training:
        for number in (1, 2, 3):
            training.epoch(number)
    manifest = Manifest.read(tmp_path)
    manifest.change(1, step=2, tags=("a",))
    manifest.change(3, step=20, tags=("a",))
    for which, meant in (("2", "2.ckpt or 1.ckpt"), ("20", "2.ckpt or 3.ckpt"), ("a", "1.ckpt or 3.ckpt")):
        code, out, err = ckpt("rm", tmp_path, which, "--force")
        assert (code, out, err.count("\n")) == (2, "", 1) and f"{which!r} could mean {meant}" in err
        assert ckpt("show", tmp_path, which)[0] == 0
    assert ckpt("rm", tmp_path, "1.ckpt")[0] == 0
    assert files(training) == ["2.ckpt", "3.ckpt"]
    assert ckpt("rm", tmp_path, "2", "--force")[0] == 0


@pytest.mark.parametrize(("name", "id_"), [("003.ckpt", 3), ("last.ckpt", 4), ("../run of a/003.ckpt", 3)])
def test_the_path_of_a_checkpoint_names_it_for_every_command(run_dir, name, id_):
    (run_dir.parent / "run of a").symlink_to(run_dir)
    path = run_dir / name
    code, out, _ = ckpt("tag", path, "release")
    assert code == 0 and f"{id_:03d}.ckpt: tagged release" in out
    assert records(run_dir)[id_].tags == ("release",)
    assert "tags: release" in ckpt("show", path)[1]
    assert "is not tagged 'other'; its tags are release" in ckpt("untag", path, "other")[2]
    assert ckpt("untag", path, "release")[0] == 0 and records(run_dir)[id_].tags == ()
    assert ckpt("pin", path)[0] == 0 and records(run_dir)[id_].pinned


def test_a_tag_without_a_checkpoint_is_one_line(run_dir):
    code, out, err = ckpt("tag", run_dir, "release")
    assert (code, out) == (2, "") and err.startswith(f"Error: {run_dir}: which checkpoint? expected a checkpoint's")
    for command in ("tag", "untag"):
        assert f"{command} [OPTIONS] RUN_DIR [WHICH] NAME" in ckpt(command, "--help")[1]
        for alone in (run_dir, run_dir / "last.ckpt", "release"):
            code, out, err = ckpt(command, alone)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert err.startswith(f"Error: {command}: got only {str(alone)!r}; expected a checkpoint and a tag, as in")


def test_a_tag_alone_names_the_checkpoint_that_loses_it(run_dir):
    code, out, err = ckpt("untag", run_dir, "release")
    assert (code, out, err) == (2, "", f"Error: {run_dir}: no checkpoint is tagged 'release'; none has a tag\n")
    for which in ("3", "4"):
        ckpt("tag", run_dir, which, "release")
    code, out, err = ckpt("untag", run_dir, "release")
    assert (code, out) == (2, "") and err == (
        f"Error: {run_dir}: 2 checkpoints are tagged 'release' (003.ckpt, 004.ckpt); say which one, as in "
        f"`ckpt untag {run_dir} 003.ckpt release`\n"
    )
    assert ckpt("untag", run_dir, "3", "release")[0] == 0
    assert ckpt("untag", run_dir, "release") == (0, f"{run_dir}/004.ckpt: no longer tagged release\n", "")
    assert records(run_dir)[3].tags == records(run_dir)[4].tags == ()
    ckpt("tag", run_dir, "4", "stable")
    assert "no checkpoint is tagged 'other'; the tags are stable" in ckpt("untag", run_dir, "other")[2]
    assert "expected a run directory" in ckpt("untag", run_dir.parent, "stable")[2]
