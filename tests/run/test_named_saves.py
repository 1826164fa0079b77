"""Saves that other code decides on and names."""

import os

import pytest

from ckpt_callbacks.errors import DirectoryInUse
from ckpt_callbacks.events import Event, EventKind
from ckpt_callbacks.record import Status
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.identity import identity
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.support.named_saves import begun, files, save
from tests.support.training import new_run, start


@pytest.fixture
def run(tmp_path):
    run = begun(tmp_path / "run")
    yield run
    run.close()


def counted(run):
    return {record.file: record for record in Manifest.read(run.dirpath).live()}


def test_nothing_is_created_before_the_first_save(run):
    run.observe(Event.epoch_end(step=1, epoch=1, metrics={"val": 0.5}))
    run.observe(Event.end(step=1, epoch=1))
    assert not run.dirpath.exists()
    assert not run.view.records() and run.view.last() is None


def test_a_save_gets_its_name_and_nothing_else_appears(run):
    save(run, "a/b/epoch=0-step=1.raw", b"one", step=1, metrics={"val": 0.5})
    run.observe(Event.end(step=1, epoch=1))
    run.close()
    assert files(run.dirpath) == {"a/b/epoch=0-step=1.raw": b"one"}
    assert sorted(path.name for path in run.dirpath.iterdir()) == [".run", "a"]
    (record,) = counted(run).values()
    assert (record.status, record.reasons, record.metrics) == (Status.VERIFIED, ("asked by a test",), {"val": 0.5})
    assert run.directory.manifest.attempts


def test_a_second_run_in_the_directory_is_refused_at_its_first_save(run):
    save(run, "a.raw")
    other = begun(run.dirpath)
    with pytest.raises(DirectoryInUse):
        save(other, "b.raw")
    other.close()
    run.wait()
    assert files(run.dirpath) == {"a.raw": b"checkpoint"}


def test_the_name_of_a_save_replaces_another_file_and_its_record(run):
    save(run, "best.raw", b"one", step=1)
    save(run, "best.raw", b"two", step=2)
    run.wait()
    assert files(run.dirpath) == {"best.raw": b"two"}
    assert [record.step for record in counted(run).values()] == [2]
    old = run.directory.manifest.records[1]
    assert (old.status, old.absent) == (Status.DELETED, True)


def test_a_file_of_somebody_else_is_replaced_as_well(run):
    run.dirpath.mkdir()
    (run.dirpath / "model.raw").write_bytes(b"of another program")
    save(run, "model.raw", b"one")
    run.wait()
    assert files(run.dirpath) == {"model.raw": b"one"}


@pytest.mark.parametrize("background", [True, False])
def test_a_failed_save_leaves_what_has_its_name_and_what_it_was_to_follow(tmp_path, background):
    run, told = begun(tmp_path / "run", background=background), []
    save(run, "best.raw", b"one", step=1)
    number = save(run, "best.raw", step=2, source=FakeWriter(fail_on={1, 2}), done=told.append)
    save(run, "other.raw", b"other", step=2, done=told.append)
    run.named.link("last.raw", "best.raw", reason="the newest")
    run.named.delete("best.raw", after=number)
    run.close()
    assert files(run.dirpath) == {"best.raw": b"one", "other.raw": b"other", "last.raw": b"one"}
    assert [outcome.error is None for outcome in told] == [False, True]
    assert "No space left" in str(told[0].error)


def test_a_second_name_that_failed_leaves_what_it_was_to_follow(run):
    save(run, "best.raw", b"one", step=1)
    run.named.link("1-last.raw", "best.raw", reason="the newest")
    failed, told = save(run, "best.raw", step=2, source=FakeWriter(fail_on={1})), []
    number = run.named.link("2-last.raw", "best.raw", reason="the newest", after=failed, done=told.append)
    run.named.delete("1-last.raw", after=number)
    run.close()
    assert files(run.dirpath) == {"best.raw": b"one", "1-last.raw": b"one"}
    assert str(told[0].error) == f"{run.dirpath / '2-last.raw'}: stays as it is, because best.raw was not saved"


def test_a_second_name_is_a_hard_link_with_a_record(run):
    save(run, "epoch=0.raw", b"one", step=1)
    run.named.link("last.raw", "epoch=0.raw", reason="the newest")
    run.wait()
    first, second = (run.dirpath / name for name in ("epoch=0.raw", "last.raw"))
    assert os.path.samefile(first, second)
    run.named.link("last.raw", "epoch=0.raw", reason="the newest")  # again
    save(run, "epoch=1.raw", b"two", step=2)
    run.named.link("last.raw", "epoch=1.raw", reason="the newest")
    run.named.delete("epoch=0.raw")
    run.close()
    assert files(run.dirpath) == {"epoch=1.raw": b"two", "last.raw": b"two"}
    assert {record.step for record in counted(run).values()} == {2}
    assert all(verify(record) is None for record in counted(run).values())


def test_the_identity_follows_the_names_of_a_file(run):
    save(run, "epoch=0.raw")
    run.named.link("last.raw", "epoch=0.raw", reason="the newest")
    run.named.delete("epoch=0.raw")
    run.wait()
    (record,) = counted(run).values()
    assert record.file == "last.raw" and record.identity == identity(record.path)


def test_a_link_to_what_was_not_saved_leaves_the_old_one(run):
    told = []
    save(run, "a.raw", b"one")
    run.named.link("last.raw", "a.raw", reason="the newest")
    save(run, "b.raw", source=FakeWriter(fail_on={1, 2}))
    run.named.link("last.raw", "b.raw", reason="the newest", done=told.append)
    run.close()
    assert files(run.dirpath) == {"a.raw": b"one", "last.raw": b"one"}
    assert "b.raw was not saved" in str(told[0].error)


def test_symbolic_links_are_replaced_in_one_step(run):
    save(run, "a.raw", b"one")
    run.named.link("last.raw", "a.raw", reason="the newest", symbolic=True)
    save(run, "b/c.raw", b"two")
    run.named.link("last.raw", "b/c.raw", reason="the newest", symbolic=True)
    run.close()
    assert os.readlink(run.dirpath / "last.raw") == "b/c.raw"
    assert set(counted(run)) == {"a.raw", "b/c.raw"}


def test_pinned_checkpoints_are_not_deleted(run):
    save(run, "a.raw")
    run.wait()
    run.directory.manifest.change(1, pinned=True)
    run.named.delete("a.raw")
    run.named.delete("missing.raw")
    run.close()
    assert set(files(run.dirpath)) == {"a.raw"}


def test_weights_alone_cannot_be_resumed_from(run):
    save(run, "a.raw", contents="weights")
    save(run, "b.raw")
    save(run, "c.raw", kind=EventKind.EXCEPTION)
    run.wait()
    found = counted(run)
    assert [record.contents for record in found.values()] == ["weights", "full", "full"]
    assert [record.resumable for record in found.values()] == [False, True, True]
    assert found["c.raw"].exceptional
    assert [record.file for record in run.view.resumable()] == ["c.raw", "b.raw"]


def test_a_resumed_run_continues_and_deletes_nothing_by_itself(tmp_path):
    dirpath, writer = tmp_path / "run", FakeWriter()
    run = begun(dirpath)
    save(run, "a.raw", step=1, source=writer)
    save(run, "b.raw", step=2)
    run.close()
    again = new_run(dirpath, run.policy)
    again.open()
    again.restore(writer.embedded.run)
    start(again, step=1)
    save(again, "c.raw", step=2)
    again.close()
    assert set(files(dirpath)) == {"a.raw", "b.raw", "c.raw"}
    found = counted(again)
    assert found["c.raw"].run == found["a.raw"].run and found["c.raw"].attempt == 2
    assert [record.file for record in again.view.resumable()] == ["c.raw", "a.raw"]


@pytest.mark.parametrize("name", ["../a.raw", "/a.raw", "a//b.raw", ".ckpt/a.raw", ".run/a.raw", ""])
def test_names_outside_the_directory_are_refused(run, name):
    with pytest.raises(ValueError, match="is not the name of a file in the run directory"):
        save(run, name)
    run.close()
    assert not files(run.dirpath)
