"""Directories, links, names and values that point elsewhere: refused in one line, or made harmless."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import EventKind, Every, KeepAll, NonFinite, Policy, PolicyError, StoreError
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.journal import encoded
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.support.command import ckpt
from tests.support.training import new_run, report, start
from tests.system.bad_input.runs import RESUMABLE, callback, copied, fit, newest, one_line

# -- directories that are not what they should be --------------------------------------------------------------------


@pytest.mark.parametrize("act", ["resume_path", "fit"])
@pytest.mark.parametrize("kind", RESUMABLE)
@pytest.mark.parametrize("what", ["manifest is a folder", "private is a file", "loop"])
def test_a_directory_that_is_not_ours_is_refused_in_one_line(tmp_path, kind, what, act):
    dirpath = tmp_path / "run"
    if what == "loop":
        dirpath.symlink_to("run")
    else:
        dirpath.mkdir()
        wrong = dirpath / ".run" / "manifest.jsonl"
        wrong.mkdir(parents=True) if what == "manifest is a folder" else (dirpath / ".run").write_text("notes")
    with pytest.raises(StoreError) as caught:
        fit(kind, dirpath, 1) if act == "fit" else callback(kind, dirpath).resume_path()
    assert str(dirpath) in one_line(caught)
    shown = ckpt("ls", dirpath)
    assert shown.exit_code == 2 and len(shown.stderr.splitlines()) == 1 and str(dirpath) in shown.stderr


def in_the_way(tmp_path, what):
    """Make a path that cannot be a directory; return it, and what must be said about it."""
    (tmp_path / "notes").write_text("notes")
    (tmp_path / "link").symlink_to("elsewhere")
    return {
        "file": (tmp_path / "notes", "is a file"),
        "below a file": (tmp_path / "notes" / "a" / "b", f"{tmp_path / 'notes'} is a file"),
        "link": (tmp_path / "link", "is a link to elsewhere, which does not exist"),
        "below a link": (tmp_path / "link" / "a", f"{tmp_path / 'link'} is a link to elsewhere, which does not exist"),
        "device": (Path(os.devnull), "is not a directory"),
    }[what]


@pytest.mark.parametrize("kind", RESUMABLE)
@pytest.mark.parametrize("what", ["file", "below a file", "link", "below a link", "device"])
def test_a_path_that_cannot_be_a_directory_is_named_with_what_is_in_the_way(tmp_path, kind, what):
    dirpath, why = in_the_way(tmp_path, what)
    with pytest.raises(StoreError) as caught:  # on Lightning, a file is noticed when the script asks for a checkpoint
        fit(kind, dirpath, 1)
    assert f"{dirpath}: {why}; expected a" in one_line(caught)


@pytest.mark.parametrize("what", ["file", "below a file", "link", "below a link", "device"])
@pytest.mark.parametrize("command", ["ls", "show", "log", "verify", "doctor", "save"])
def test_each_command_names_what_is_in_the_way_of_a_run_directory(tmp_path, what, command):
    dirpath, why = in_the_way(tmp_path, what)
    shown = ckpt(command, dirpath, *["last"] * (command == "show"))
    assert (shown.exit_code, shown.stderr) == (2, f"Error: {dirpath}: {why}; expected a run directory\n")


def test_an_alias_that_points_at_itself_is_left_alone(run, caplog):
    kind, dirpath = run
    last = newest(dirpath)
    link = dirpath / f"last{last.path.suffix}"
    link.unlink()
    link.symlink_to(link.name)
    assert ckpt("verify", dirpath).exit_code == 0 and ckpt("ls", dirpath).exit_code == 0
    assert callback(kind, dirpath).resume_path() == str(last.path)
    assert fit(kind, dirpath, 4).last().epoch == 4
    assert os.readlink(link) == link.name
    assert "cannot create the 'last' link" in caplog.text


# -- names -----------------------------------------------------------------------------------------------------------


def saved_as(dirpath, value):
    settings = Settings(dirpath, filename="{dataset}", metadata={"dataset": value})
    run = Run(Policy(Every(epochs=1), KeepAll()), settings, suffix=".raw", framework="test", name="test")
    run.open()
    start(run)
    report(run, EventKind.EPOCH_END, step=1, epoch=1, complete=True, stage=FakeWriter(b"data"))
    run.close()
    return run.view.last()


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(value=st.text(st.sampled_from("./\\\0~a -\n%ü")) | st.text())
def test_no_value_in_a_name_leads_out_of_the_run_directory(tmp_path, value):
    shutil.rmtree(tmp_path / "base", ignore_errors=True)
    dirpath = tmp_path / "base" / "middle" / "run"
    record = saved_as(dirpath, value)
    assert (dirpath / record.file).read_bytes() == b"data"
    assert Path(record.file).name == record.file and not record.file.startswith(".")
    assert os.listdir(tmp_path / "base") == ["middle"] and os.listdir(tmp_path / "base" / "middle") == ["run"]


@pytest.mark.parametrize("value", ["../../etc", "/etc/passwd", "a\0b", "x" * 5000, "..", "ü" * 300, ["a", "../b"]])
def test_a_hostile_value_makes_a_harmless_name(tmp_path, value):
    record = saved_as(tmp_path / "run", value)
    assert record.path.parent == tmp_path / "run" and record.path.read_bytes() == b"data"
    assert len(os.fsencode(record.file)) < 200
    assert sorted(os.listdir(tmp_path)) == ["run"]


@pytest.mark.parametrize("template", ["../{epoch}", "/etc/{epoch}", "a/{epoch}", "a\0{epoch}"])
def test_a_template_that_leads_out_is_refused(tmp_path, template):
    with pytest.raises(PolicyError, match="a file name must not contain a path separator") as caught:
        callback("lightning", tmp_path, filename=template)
    one_line(caught)


@pytest.mark.parametrize(
    "file", ["../precious", "/etc/passwd", "sub/../../b", "sub//a", "..", ".ckpt", ".run/a", "a\0b"]
)
def test_a_manifest_cannot_have_files_elsewhere_deleted(tmp_path, file):
    (tmp_path / "precious").write_bytes(b"mine")
    record = saved_as(tmp_path / "run", "a")
    evil = {**record.to_json(), "id": 7, "file": file}
    with (tmp_path / "run" / ".run" / "manifest.jsonl").open("ab") as journal:
        journal.write(encoded({"record": evil}) + encoded({"id": record.id, "set": {"file": file}}))
    manifest = Manifest.read(tmp_path / "run")
    assert [r.file for r in manifest.live()] == [record.file]
    assert len(manifest.problems) == 2 and "is not the name of a file in the run directory" in manifest.problems[0]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "other"), [("lightning", "keras"), ("keras", "lightning"), ("weights", "lightning")])
def test_a_run_of_another_framework_is_refused_and_left_as_it_is(trained, tmp_path, kind, other):
    run_dir = copied(trained / kind / "run", tmp_path / "run")
    before = sorted((path.name, path.is_symlink(), path.lstat().st_mtime_ns) for path in run_dir.iterdir())
    with pytest.raises(
        StoreError, match=r"holds a run of .*Checkpoint, whose files .*Checkpoint cannot resume from"
    ) as caught:
        fit(other, run_dir, 1)
    one_line(caught)
    assert sorted((path.name, path.is_symlink(), path.lstat().st_mtime_ns) for path in run_dir.iterdir()) == before
    assert fit(kind, run_dir, 5).last().epoch == 5


def test_a_name_that_no_rule_will_ever_see_is_reported(tmp_path, caplog):
    policy = Policy(Every(epochs=1), stop=NonFinite(["loss", "vall_loss"]))
    run = new_run(tmp_path, policy)
    run.open()
    start(run)
    for epoch in (1, 2):
        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, metrics={"loss": 1.0}, complete=True)
    run.close()
    assert caplog.messages.count("NonFinite: 'vall_loss' was never logged; logged names: loss") == 1
