"""Run directories that are renamed, or reached through links that are pointed elsewhere, while training runs."""

import os

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.training import new_run, report, start

POLICY = Policy(Every(epochs=1), KeepLast(2))


def save(run, epoch):
    report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True)


def begin(dirpath):
    run = new_run(dirpath, POLICY, background=False)
    run.open()
    start(run)
    for epoch in (1, 2, 3):
        save(run, epoch)
    return run


def point_elsewhere(link, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere")


def remove_it(link, tmp_path):
    link.unlink()


def put_a_folder_there(link, tmp_path):
    link.unlink()
    (link / ".run").mkdir(parents=True)


@pytest.mark.parametrize("change", [point_elsewhere, remove_it, put_a_folder_there])
@pytest.mark.parametrize("within", ["", "runs"])
def test_a_link_that_is_pointed_elsewhere_does_not_take_the_run_with_it(tmp_path, caplog, change, within):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run = begin(tmp_path / "link" / within)
    change(tmp_path / "link", tmp_path)
    for epoch in (4, 5, 6):
        save(run, epoch)
    run.close()
    assert not caplog.messages
    assert [r.epoch for r in Manifest.read(tmp_path / "real" / within).live()] == [5, 6]
    assert ckpt("doctor", "--dry-run", tmp_path / "real" / within).exit_code == 0
    assert not list(tmp_path.glob("elsewhere/*"))


@pytest.mark.parametrize("moved", ["run", "parent"])
def test_a_run_whose_directory_is_renamed_goes_on_and_says_so_in_one_line(tmp_path, caplog, moved):
    dirpath = tmp_path / "parent" / "run"
    run = begin(dirpath)
    os.rename(*((dirpath, tmp_path / "moved") if moved == "run" else (dirpath.parent, tmp_path / "moved")))
    for epoch in (4, 5, 6):
        save(run, epoch)
    run.close()
    assert caplog.messages == [
        f"{dirpath}: the run directory was renamed or deleted during training; training continues in a new one of the "
        "same name, without the earlier checkpoints (2)"
    ]
    left = tmp_path / "moved" / ("run" if moved == "parent" else "")
    assert [r.epoch for r in Manifest.read(dirpath).live()] == [5, 6]
    assert [r.epoch for r in Manifest.read(left).live()] == [2, 3]
    for path in (dirpath, left):
        assert ckpt("doctor", "--dry-run", path).exit_code == 0


def test_a_run_whose_place_another_one_has_taken_leaves_it_alone_and_says_so_once(tmp_path, caplog):
    run, other = begin(tmp_path / "run"), begin(tmp_path / "other")
    save(other, 4)
    other.close()
    os.rename(tmp_path / "run", tmp_path / "moved")
    os.rename(tmp_path / "other", tmp_path / "run")
    before = (tmp_path / "run/.run/manifest.jsonl").read_bytes()
    for epoch in (4, 5, 6):
        save(run, epoch)
    run.close()
    assert len([message for message in caplog.messages if "was not saved" in message]) == 3
    assert len(caplog.messages) == 4  # and one about the journal, which cannot hold the failures
    assert all("is not the manifest that this process read before" in message for message in caplog.messages)
    assert (tmp_path / "run/.run/manifest.jsonl").read_bytes() == before
