"""A run's view of checkpoints that are damaged or cannot be read, and the pruning of these."""

import logging
import os

from ckpt_callbacks import Every, KeepLast, Policy, Status
from ckpt_callbacks.store.manifest import Manifest
from tests.run.background import epoch
from tests.support.training import new_run, start

UNREADABLE = "/proc/self/mem"  # a file whose first page gives an input/output error


def saved(begin, epochs, policy=None):
    """Train in the foreground and end; return the records."""
    run = begin(*([policy] if policy else []), background=False)
    for number in range(1, epochs + 1):
        epoch(run, number)
    run.close()
    return run.view.records()


def test_resumable_lists_the_newest_first_and_reads_no_file(begin, tmp_path):
    records = saved(begin, 3)
    for record in records:
        record.path.write_bytes(b"damaged")
    view = new_run(tmp_path, Policy(Every(epochs=1))).view
    assert [record.epoch for record in view.resumable()] == [3, 2, 1]
    assert not view.damaged
    assert list(view.verified_resumable()) == []
    assert len(view.damaged) == 3


def test_resumable_leaves_out_what_no_run_can_continue_from(begin, tmp_path):
    first, second, third = saved(begin, 3)
    Manifest.read(tmp_path).change(second.id, superseded=True)
    Manifest.read(tmp_path).change(third.id, resumable=False)
    assert [record.id for record in new_run(tmp_path, Policy(Every(epochs=1))).view.resumable()] == [first.id]


def test_checkpoints_of_later_steps_are_not_read(begin, tmp_path, caplog):
    records = saved(begin, 3)
    records[2].path.write_bytes(b"damaged")
    view = new_run(tmp_path, Policy(Every(epochs=1))).view
    with caplog.at_level(logging.INFO, "ckpt_callbacks"):
        assert [record.step for record in view.verified_resumable(lambda record: record.step <= 20)] == [20, 10]
    assert "skipping" not in caplog.text and records[2].file not in caplog.text
    assert not view.damaged


def test_a_checkpoint_that_cannot_be_read_now_does_not_take_the_place_of_another(begin, tmp_path):
    """Neither in the plan, nor among the links, nor when a save prunes; and it is not deleted."""
    policy = Policy(Every(epochs=1), KeepLast(2))
    *_, older, newest = saved(begin, 3, policy)
    aside = tmp_path.parent / f"{tmp_path.name} aside"
    os.rename(newest.path, aside)
    newest.path.symlink_to(UNREADABLE)
    run = new_run(tmp_path, policy, background=False)
    run.open()
    found = next(run.view.verified_resumable())
    assert found.id == older.id
    run.view.current = found.run
    start(run, step=20, epoch=2)
    assert [record.id for record in run.view.plan().keep] == [older.id]
    epoch(run, 4)
    planned = {record.id for record in run.view.plan().keep}
    run.close()
    newest.path.unlink()
    os.rename(aside, newest.path)
    live = Manifest.read(tmp_path).live()
    assert {record.id for record in live} == planned | {newest.id}
    assert older.id in planned and older.path.exists()
    assert all(record.status is Status.VERIFIED for record in live)
    assert os.readlink(tmp_path / "last.raw") == next(r.file for r in live if r.epoch == 4)


def test_only_the_record_of_a_save_tells_that_the_weights_were_searched(begin, tmp_path):
    first, second = saved(begin, 2)
    view = new_run(tmp_path, Policy(Every(epochs=1))).view
    view.refresh()
    assert view.was_searched(first.path) and view.was_searched(str(second.path))
    view.manifest.change(first.id, finite=False)
    view.manifest.change(second.id, identity="")  # as after a rebuild, or from an older version
    assert not (view.was_searched(first.path) or view.was_searched(second.path) or view.was_searched(tmp_path / "x"))
