"""A kill at every call, after which the user puts each deleted checkpoint back under its old name."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.store.all_records import all_records
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.support.shares import share
from tests.system.faults.checks import check_reopened, coming, describe, prepared
from tests.system.faults.inject import fail, in_child, interposed, kill_before, listing
from tests.system.faults.writer import FILE, acknowledgements, new_run, train


def deleting(dirpath, call):
    """Return whether a call deletes a checkpoint in its place, or may do so, as the removal of a link does."""
    return call.name == "unlink" and os.path.dirname(call.path) == str(dirpath) and not os.path.islink(call.path)


def keeping(dirpath, kept, before=lambda call: None):
    """Return an action that keeps another link to each checkpoint that is deleted, and then does what ``before`` does.

    No wrapper counts `os.link`, so the numbers of the calls stay the same.
    """

    def act(call):
        if deleting(dirpath, call):
            os.link(call.path, kept / os.path.basename(call.path))
        before(call)

    return act


def put_back(dirpath, kept):
    """Put back what was deleted; return the records of those whose deletion is known to be complete."""
    names = [path.name for path in kept.iterdir()]
    for name in names:
        if not os.path.lexists(dirpath / name):
            shutil.copy2(kept / name, dirpath / name)
    return [record for record in all_records(Manifest.read(dirpath)) if record.file in names and record.absent]


def check_kept(dirpath, records):
    found = {record.id: record for record in all_records(Manifest.read(dirpath))}
    for record in records:
        assert (found[record.id].status, found[record.id].pinned) == (Status.VERIFIED, True), f"{record.file}: is gone"
        verify(found[record.id])


def calls_of(place):
    """Return the calls of a training run that change the disk."""
    dirpath, acknowledged = prepared(place)
    (kept := dirpath.parent / "kept").mkdir()
    calls = []

    def note(call):
        calls.append((call, deleting(dirpath, call)))

    with interposed(dirpath, keeping(dirpath, kept, note)):
        train(dirpath, acknowledged, FILE)
    return dirpath, [(call, deletes) for call, deletes in calls if call.changing]


def check(place, number):
    """Kill a training run before a call, put everything back, and train on; return how many had to be kept."""
    dirpath, acknowledged = prepared(place)
    (kept := dirpath.parent / "kept").mkdir()

    def work():
        with interposed(dirpath, keeping(dirpath, kept, kill_before(number))):
            train(dirpath, acknowledged, FILE)

    assert in_child(work) == 9
    complete = put_back(dirpath, kept)
    check_reopened(dirpath, acknowledgements(acknowledged), coming(acknowledged, FILE))
    check_kept(dirpath, complete)
    assert train(dirpath, acknowledged, FILE) == []
    check_kept(dirpath, complete)
    shutil.rmtree(dirpath.parent)
    return len(complete)


def sweep(place, calls, dirpath):
    losses, kept = [], []
    for call in calls:
        try:
            kept.append(check(place, call.number))
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{describe(call, dirpath)}: {error!r}")
    assert not losses, "\n".join(losses)
    return kept


@pytest.mark.slow
def test_what_is_put_back_after_a_kill_at_any_call(place, figures):
    dirpath, calls = calls_of(place)
    tried = [*share(calls[:-1]), calls[-1]]  # after the last one, all deletions were done
    kept = sweep(place, [call for call, _ in tried], dirpath)
    assert max(kept) == len([call for call, deletes in calls if deletes])
    figures(f"{len(kept)} points tried, {sum(kept)} put back and kept, losses = 0")


def test_what_is_put_back_after_a_kill_right_after_a_deletion(place):
    dirpath, calls = calls_of(place)
    places = [i for i, (_, deletes) in enumerate(calls) if deletes]
    last = places[-1]
    kept = sweep(place, [call for call, _ in calls[last : last + 6]], dirpath)
    assert kept[0] == len(places) - 1 and Path(calls[last][0].path).suffix == ".bin"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_before, lambda number: fail(number, errno.EIO)], ids=["kill", "EIO"])
def test_a_fault_at_any_call_while_it_is_listed_again(place, figures, fault):
    def whole():
        dirpath, acknowledged = prepared(place)
        (kept := dirpath.parent / "kept").mkdir()
        with interposed(dirpath, keeping(dirpath, kept)):
            train(dirpath, acknowledged, FILE)
        return dirpath, put_back(dirpath, kept)

    def reopen(dirpath):
        run = new_run(dirpath)
        with contextlib.suppress(CkptError, OSError):
            run.open()
        run.close()

    dirpath, complete = whole()
    calls = [call for call in listing(dirpath, lambda: reopen(dirpath)) if call.changing]
    check_kept(dirpath, complete)
    for call in share(calls):
        dirpath, complete = whole()

        def work(dirpath=dirpath, call=call):
            with interposed(dirpath, fault(call.number)):
                reopen(dirpath)

        assert in_child(work) in (9, 0)
        assert all(os.path.lexists(record.path) for record in complete), describe(call, dirpath)
        reopen(dirpath)
        check_kept(dirpath, complete)
    figures(f"{len(calls)} calls tried, {len(complete)} put back and kept each time")


def test_the_sweep_would_notice_a_loss(place):
    dirpath, acknowledged = prepared(place)
    assert listing(dirpath, lambda: train(dirpath, acknowledged, FILE))
    records = [record for record in all_records(Manifest.read(dirpath)) if record.status is Status.DELETED]
    with pytest.raises(AssertionError, match="is gone"):
        check_kept(dirpath, records)
