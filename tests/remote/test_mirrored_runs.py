"""A run that is mirrored, loses its directory, and comes back, in each place."""

import random
import shutil

import pytest

from ckpt_callbacks.mirrors.restoring import bring_back, find
from ckpt_callbacks.policy.retention import KeepLast
from ckpt_callbacks.remote.upload import PART
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import LOSS, SmallRun


@pytest.mark.mirrors
def test_a_run_comes_back_on_an_empty_machine(place, tmp_path):
    run = SmallRun(tmp_path / "run")
    records = [run.save(loss, size) for loss, size in ((3.0, 100), (1.0, PART + 5), (2.0, 0), (4.0, 1000))]
    _sent(run, place)
    shutil.rmtree(tmp_path / "run")
    empty = Manifest(tmp_path / "run")
    found = bring_back(find([place.open()]), empty, LOSS)
    assert found.id == records[-1].id
    assert [record.id for record in empty.live()] == [2, 4]  # the newest and the best
    assert all(digest(record.path) == (record.digest, record.size) for record in empty.live())


def test_what_the_rules_of_a_mirror_do_not_keep_is_deleted_there(place, tmp_path):
    run = SmallRun(tmp_path / "run")
    for loss in (3.0, 2.0, 1.0):
        run.save(loss)
        _sent(run, place, keep=KeepLast(1))
    store = place.open()
    checkpoints = [each.key for each in store.list("checkpoints/")]
    assert len(checkpoints) == 1 and checkpoints[0].endswith("/3.ckpt")
    assert len(list(store.list("mirror/records/"))) == 1
    assert list(store.list(unfinished=True)) == []


def test_a_mirror_draws_nothing_from_the_generator_of_the_training_script(place, tmp_path):
    run = SmallRun(tmp_path / "run")
    run.save(size=1 << 20)
    before = random.getstate()
    _sent(run, place)
    assert random.getstate() == before


def _sent(run, place, **arguments):
    run.mirror(place.open(), **arguments)._synchronise()
