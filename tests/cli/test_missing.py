"""Checkpoints whose file is missing: the commands take the next one that exists, or say so in one line."""

import pytest

from ckpt_callbacks import Every, KeepBest, KeepLast, Metric, Policy, Status, open_run
from ckpt_callbacks.config import Config
from ckpt_callbacks.events import EventKind
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, mirrored
from tests.support.training import new_run, report, start

VAL = Metric("val", mode="min")
POLICY = Policy(save=Every(epochs=1), keep=KeepLast(3) | KeepBest(1, by=VAL))
VALUES = {1: 3.0, 2: 1.0, 3: 2.0}


@pytest.fixture
def trained(tmp_path):
    """A run whose second checkpoint is the best, and whose third is the newest."""
    run = new_run(tmp_path, POLICY, suffix=".ckpt", filename="{epoch}", described=Config(POLICY).described)
    run.open()
    start(run)
    for epoch, value in VALUES.items():
        facts = {"step": 10 * epoch, "epoch": epoch, "metrics": {"val": value}, "complete": True}
        report(run, EventKind.EPOCH_END, stage=FakeWriter(b"%d" % epoch), **facts)
        run.wait()
    run.close()
    return tmp_path


def remove(run_dir, *epochs):
    for epoch in epochs:
        (run_dir / f"{epoch}.ckpt").unlink()


def warning(run_dir, alias, missing, other):
    return f"Warning: {run_dir}/{missing}.ckpt: missing; {alias} is {other}.ckpt instead\n"


@pytest.mark.parametrize(("alias", "missing", "other"), [("best", 2, 3), ("last", 3, 2), ("final", 3, None)])
def test_an_alias_names_the_next_one_that_exists(trained, alias, missing, other):
    if alias == "final":
        manifest = Manifest.read(trained)
        manifest.change(next(r.id for r in manifest.live() if r.epoch == 3), final=True)
    remove(trained, missing)
    code, out, err = ckpt("path", trained, alias)
    if other is None:
        message = f"Error: {trained}/{missing}.ckpt: missing, and no other checkpoint is {alias}\n"
        assert (code, out, err) == (2, "", message)
        return
    assert (code, out, err) == (0, f"{trained}/{other}.ckpt\n", warning(trained, alias, missing, other))
    code, out, err = ckpt("pin", trained, alias)
    assert (code, err) == (0, warning(trained, alias, missing, other)) and f"{other}.ckpt: pinned" in out
    assert [r.epoch for r in Manifest.read(trained).live() if r.pinned] == [other]
    code, out, err = ckpt("show", trained, alias)
    assert code == 0 and f"path: {trained}/{other}.ckpt\n" in out


def test_verify_reads_the_one_that_is_meant(trained):
    remove(trained, 2)
    code, out, err = ckpt("verify", trained, "best")
    assert (code, err) == (1, "") and out.startswith(f"BAD  {trained}/2.ckpt: missing; ")


def test_one_line_if_none_is_left(trained):
    remove(trained, 1, 2, 3)
    for alias in ("best", "last"):
        code, out, err = ckpt("path", trained, alias)
        assert (code, out, err.count("\n")) == (2, "", 1) and f"missing, and no other checkpoint is {alias}" in err


@pytest.mark.parametrize("command", [["path"], ["pin"], ["tag", "{which}", "release"]], ids=lambda c: c[0])
@pytest.mark.parametrize("which", ["2.ckpt", "20", "best.ckpt"])
def test_a_name_that_means_only_the_missing_one_is_one_line(trained, command, which):
    remove(trained, 2)
    name, *rest = command
    code, out, err = ckpt(name, trained, *([part.format(which=which) for part in rest] or [which]))
    assert (code, out) == (2, "")
    assert (
        err == f"Error: {trained}/2.ckpt: missing; expected a checkpoint that exists: `ckpt ls {trained}` lists them\n"
    )
    assert not any(record.pinned or record.tags for record in Manifest.read(trained).live())


@pytest.mark.parametrize("name", ["best", "last"])
def test_the_only_checkpoint_is_named_as_damaged_and_its_mirror_has_it(tmp_path, name):
    dirpath, mirror = tmp_path / "run", tmp_path / "mirror"
    run = RecordedRun(dirpath, mirrors=[str(mirror)])
    file = run.save(timings={"verified": 0.1}).path
    mirrored(run, mirror)
    file.write_bytes(b"?")
    ckpt("doctor", dirpath)
    code, out, err = ckpt("path", dirpath, name)
    assert (code, out) == (2, "")
    way = f"ckpt pull {mirror} {dirpath}"
    assert err == f"Error: {dirpath}: has no {name!r} checkpoint: 1.ckpt is damaged; `{way}` downloads it again\n"
    assert ckpt(*way.split()[1:])[0] == 0
    assert ckpt("path", dirpath, name)[0] == 0


def test_without_a_mirror_another_command_says_what_is_wrong_with_it(tmp_path):
    run = RecordedRun(tmp_path)
    run.save(timings={"verified": 0.1}).path.write_bytes(b"?")
    ckpt("doctor", tmp_path)
    assert f"1.ckpt is damaged; `ckpt verify {tmp_path}` says how" in ckpt("path", tmp_path, "last")[2]
    why = open_run(tmp_path)._view.why_no_best()
    assert "1.ckpt, which has a value of it, was found damaged or missing; if the run has a mirror, `ckpt pull`" in why


def test_what_was_pinned_before_it_was_missing_can_be_unpinned(trained):
    ckpt("pin", trained, "2.ckpt")
    ckpt("tag", trained, "2.ckpt", "release")
    remove(trained, 2)
    assert ckpt("unpin", trained, "2.ckpt")[0] == ckpt("untag", trained, "2.ckpt", "release")[0] == 0


def test_the_tables_call_it_missing_before_and_after_it_is_written_off(trained):
    remove(trained, 2)
    before = ckpt("ls", trained)[1].splitlines()
    assert "  missing  " in before[2] and "best" not in before[2] and "best" in before[3]
    assert "its file is missing" in ckpt("ls", "--why", trained)[1]
    assert "status: missing\n" in ckpt("show", trained, "2.ckpt")[1]
    assert "; marked as missing\n" in ckpt("doctor", trained)[1]
    after = ckpt("ls", trained)[1].splitlines()
    assert "  missing  " in after[2] and "best" in after[3]
    assert "its status is missing" in ckpt("path", trained, "2.ckpt")[2]


def test_rm_protects_what_takes_its_place(trained):
    remove(trained, 2, 3)
    code, _, err = ckpt("rm", trained, "1.ckpt")
    assert code == 2 and "it is last, and it is best, and a run would resume from it; pass --force" in err
    assert ckpt("rm", trained, "2.ckpt")[0] == 0
    assert next(r for r in Manifest.read(trained).records.values() if r.epoch == 2).status is Status.DELETED


def test_a_start_names_what_is_missing_in_one_line_and_pinned_ones_first(trained, caplog):
    ckpt("pin", trained, "3.ckpt")
    remove(trained, 1, 3)
    run = new_run(trained, POLICY, suffix=".ckpt")
    run.open()
    run.close()
    line = f"{trained}: missing, and no longer counted: 3.ckpt (pinned), 1.ckpt"
    assert [message for message in caplog.messages if "missing" in message] == [line]
    caplog.clear()
    run = new_run(trained, POLICY, suffix=".ckpt")
    run.open()
    run.close()
    assert not [message for message in caplog.messages if "missing" in message], "it is said once"
