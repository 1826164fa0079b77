"""Files that cannot be removed for a while: nothing else waits for them, and they are removed later."""

import os

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Policy, Status, StoreError
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.content import NumberedContent
from tests.support.training import StartedRun, new_run, report, start

LAST = Policy(Every(epochs=1), KeepLast(1))


class Training(StartedRun):
    def __init__(self, dirpath, folder=False):
        self.dirpath, self.folder = dirpath, folder
        super().__init__(new_run(dirpath, LAST, background=False, filename="{epoch}"))

    def epoch(self, number):
        snapshot = NumberedContent(number, self.folder)
        report(self.run, EventKind.EPOCH_END, step=number, epoch=number, complete=True, stage=snapshot)
        return self.run.view.last().path

    @property
    def files(self):
        return sorted(path.name for path in self.dirpath.glob("[0-9]*.raw"))


def lines(caplog, text):
    return [message for message in caplog.messages if text in message]


@pytest.mark.parametrize("kind", ["file", "file in a folder", "mount point"])
def test_a_checkpoint_that_cannot_be_deleted_is_deleted_by_a_later_save(tmp_path, undeletable, caplog, kind):
    make, undo = undeletable
    with Training(tmp_path, folder=kind != "file") as training:
        first = training.epoch(1)
        assert (first / "weights").is_file() or kind == "file"
        make(first / "weights" if kind == "file in a folder" else first, "mount" if "mount" in kind else "immutable")
        for number in (2, 3, 4):
            training.epoch(number)
        rest = [] if kind == "file in a folder" else ["1.raw"]  # the folder has been moved aside already
        assert training.files == [*rest, "4.raw"], "retention of the others goes on"
        assert len(lines(caplog, "could not be removed: ")) == 1
        undo()
        training.epoch(5)
        assert training.files == ["5.raw"]
        assert not any((tmp_path / ".run" / "staging").iterdir())
    assert [record.epoch for record in Manifest.read(tmp_path).live()] == [5]


@pytest.mark.parametrize("kind", ["file", "mount point"])
def test_a_run_opens_beside_a_checkpoint_that_cannot_be_deleted(tmp_path, undeletable, caplog, kind):
    make, undo = undeletable
    with Training(tmp_path, folder=kind != "file") as training:
        make(training.epoch(1), "mount" if "mount" in kind else "immutable")
        training.epoch(2)
    caplog.clear()
    with Training(tmp_path, folder=kind != "file") as training:
        [line] = lines(caplog, "its deletion was interrupted")
        assert "could not be completed" in line and line.endswith("it will be tried again")
        training.epoch(3)
    done = ckpt("doctor", tmp_path)
    assert done.exit_code == 2 and "1 of these problems could not be repaired" in done.stderr
    undo()
    assert ckpt("doctor", tmp_path).exit_code == 0
    assert not (tmp_path / "1.raw").exists()


@pytest.mark.parametrize(
    "kind",
    [pytest.param("file", id="file"), *(pytest.param(k, marks=pytest.mark.slow) for k in ("inside", "replaced"))],
)
def test_a_deletion_that_fails_at_an_open_is_completed_by_a_save_of_that_run(tmp_path, undeletable, kind):
    make, undo = undeletable
    with Training(tmp_path, folder=kind == "inside") as training:
        path = training.epoch(1)
        make(path / "weights" if kind == "inside" else path)
        training.epoch(2)
    with Training(tmp_path, folder=kind == "inside") as training:
        undo()
        if kind == "replaced":
            path.unlink()
            path.write_text("a file of somebody else")
        training.epoch(3)
        assert path.exists() is (kind == "replaced")
        assert not any((tmp_path / ".run" / "staging").iterdir())


def test_what_stands_in_the_place_of_a_new_link_is_left_there(tmp_path, caplog):
    for name in ("last", "final"):
        (tmp_path / f".{name}.raw.new" / "within").mkdir(parents=True)
    with Training(tmp_path) as training:
        for number in (1, 2, 3):
            training.epoch(number)
        assert training.files == ["3.raw"]
        assert os.readlink(tmp_path / "last.raw") == "3.raw"
    assert (tmp_path / ".last.raw.new" / "within").is_dir()
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["append-only", "a folder", "several folders"])
def test_drafts_of_links_are_removed_once_that_is_possible(tmp_path, undeletable, kind):
    make, undo = undeletable
    with Training(tmp_path) as training:
        training.epoch(1)
        if kind == "append-only":
            make(tmp_path, kind)
            for number in (2, 3):
                training.epoch(number)
            assert [path for path in tmp_path.glob(".*.new*") if path.is_symlink()], "else nothing is shown"
            undo()
        else:
            for version in ("", "-v2")[: 1 + (kind == "several folders")]:
                (tmp_path / f".last.raw{version}.new").mkdir()
            (tmp_path / ".last.raw-v1.new").symlink_to("1.raw")  # after a kill
        training.epoch(4)
        assert os.readlink(tmp_path / "last.raw") == "4.raw"
    assert not [path for path in tmp_path.glob(".*.new*") if not path.is_dir()]


def test_a_link_that_cannot_be_moved_stops_neither_the_others_nor_retention(tmp_path, undeletable, caplog):
    make, undo = undeletable
    with Training(tmp_path) as training:
        training.epoch(1)
        (tmp_path / "last.raw").unlink()
        (tmp_path / "last.pointer").write_text("1.raw")  # as on a file system without links
        make(tmp_path / "last.pointer")
        training.epoch(2)
        training.epoch(3)
        assert training.files == ["3.raw"]
        assert len(lines(caplog, "cannot create the 'last' link: Operation not permitted")) == 1
        undo()
        training.epoch(4)
    assert not (tmp_path / "last.pointer").exists() and os.readlink(tmp_path / "last.raw") == "4.raw"


def test_a_leftover_in_the_staging_folder_stops_neither_the_open_nor_the_save_of_that_name(
    tmp_path, undeletable, caplog
):
    make, undo = undeletable
    with Training(tmp_path) as training:
        training.epoch(1)
        staged = tmp_path / ".run" / "staging" / f"{training.run.view.current}-2.raw"
        staged.write_text("torn")
        make(staged)
        training.epoch(2)
        training.epoch(3)
        assert training.files == ["3.raw"]
    with Training(tmp_path) as training:
        assert len(lines(caplog, "could not be removed")) == 1
        undo()
    with Training(tmp_path) as training:
        training.epoch(4)
    assert not any((tmp_path / ".run" / "staging").iterdir())
    assert all(record.status is not Status.FAILED for record in Manifest.read(tmp_path).records.values())


@pytest.mark.parametrize("name", ["training.lock", "manifest.lock", "manifest.jsonl"])
def test_a_private_file_that_cannot_be_written_is_named(tmp_path, undeletable, name):
    make, undo = undeletable
    with Training(tmp_path) as training:
        training.epoch(1)
    make(path := tmp_path / ".run" / name)
    run = new_run(tmp_path, LAST, background=False)
    with pytest.raises(StoreError, match="Operation not permitted") as caught:
        run.open()
        start(run)
    run.close()
    said = [str(caught.value)]
    for command, *which in (["pin", "last"], ["rm", "last", "--force"]):
        shown = ckpt(command, tmp_path, *which)
        if (command, name) != ("pin", "training.lock"):  # it does not need that one
            said.append(shown.stderr)
            assert (shown.exit_code, len(shown.stderr.splitlines())) == (2, 1)
    assert all(str(path) in line for line in said), said
    undo()
    with Training(tmp_path) as training:
        assert training.epoch(2).is_file()


def test_what_stands_in_the_place_of_a_new_manifest_does_not_stop_the_doctor(tmp_path):
    with Training(tmp_path) as training:
        training.epoch(1)
    (tmp_path / ".run" / "manifest.new").mkdir()
    journal = tmp_path / ".run" / "manifest.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"\n", b"\ngarbage\n", 1))
    assert ckpt("doctor", tmp_path).exit_code == 0
    assert ckpt("doctor", tmp_path).output == f"{tmp_path}: nothing is wrong\n"
