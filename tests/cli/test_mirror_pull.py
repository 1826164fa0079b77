"""``ckpt pull``: checkpoints come back from a mirror into a run directory."""

import shutil

import pytest

from ckpt_callbacks import MirrorUnreachable, open_run
from ckpt_callbacks.cli import places
from ckpt_callbacks.policy.retention import KeepAll
from ckpt_callbacks.store.digest import digest
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, mirrored, part_of
from tests.support.memory_store import MemoryStore


@pytest.fixture
def run(tmp_path):
    run = RecordedRun(tmp_path / "run", losses=(1.0, 3.0, 2.0))
    run.manifest.change(2, tags=("paper",))
    return run


@pytest.fixture
def store(run, tmp_path):
    return mirrored(run, tmp_path / "mirror")


def ids(path):
    return [record.id for record in Manifest.read(path).live()]


def test_the_newest_and_the_best_come_into_a_new_directory(run, store, tmp_path):
    code, out, err = ckpt("pull", store.url, tmp_path / "new")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path}/new/{id_}.ckpt: step {id_}, 100 bytes, downloaded and verified" for id_ in (3, 1)
    ]
    for id_ in (1, 3):
        record = run.manifest.records[id_]
        assert digest(tmp_path / "new" / record.file) == (record.digest, record.size)
    found = open_run(tmp_path / "new")
    assert found.resume_path() == f"{tmp_path}/new/3.ckpt" and found.best().id == 1
    assert (tmp_path / "new" / "best.ckpt").resolve().name == "1.ckpt"
    assert Manifest.read(tmp_path / "new").next_id == 4


def test_what_is_there_is_not_downloaded_again(store, tmp_path):
    ckpt("pull", store.url, tmp_path / "new")
    shutil.rmtree(tmp_path / "mirror" / "checkpoints")
    code, out, err = ckpt("pull", store.url, tmp_path / "new")
    assert (code, err) == (0, "")
    assert out == "".join(f"{tmp_path}/new/{id_}.ckpt: is here already\n" for id_ in (3, 1))


def test_a_missing_file_comes_back(store, tmp_path):
    ckpt("pull", store.url, tmp_path / "new")
    (tmp_path / "new" / "3.ckpt").unlink()
    assert ckpt("pull", store.url, tmp_path / "new", "--record", "last")[0] == 0
    assert open_run(tmp_path / "new").resume_path() == f"{tmp_path}/new/3.ckpt"


def test_the_directory_gets_the_last_name_of_the_url(store, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert ckpt("pull", store.url)[0] == 0
    assert ids(tmp_path / "work" / "mirror") == [1, 3]


@pytest.mark.parametrize(("which", "id_"), [("last", 3), ("best", 1), ("2", 2), ("paper", 2), ("2.ckpt", 2)])
def test_one_checkpoint_can_be_named(store, tmp_path, which, id_):
    assert ckpt("pull", store.url, tmp_path / "new", "--record", which)[0] == 0
    assert ids(tmp_path / "new") == [id_]


def test_an_unknown_checkpoint_is_refused_and_nothing_is_created(store, tmp_path):
    code, out, err = ckpt("pull", store.url, tmp_path / "new", "--record", "nothing")
    assert (code, out) == (2, "") and f"{store.url}: has no checkpoint 'nothing'; expected an id" in err
    assert not (tmp_path / "new").exists()


def test_a_damaged_one_is_skipped_for_an_older_one(store, tmp_path):
    path = part_of(store, 3)
    path.write_bytes(b"0" * path.stat().st_size)
    code, _out, err = ckpt("pull", store.url, tmp_path / "new")
    assert code == 0 and ids(tmp_path / "new") == [1, 2]
    assert f"Warning: {store.url}: 3.ckpt is skipped: " in err and "its digest is" in err


def test_a_damaged_one_that_was_named_fails_and_leaves_nothing(store, tmp_path):
    part_of(store, 3).unlink()
    code, out, err = ckpt("pull", store.url, tmp_path / "new", "--record", "3")
    assert (code, out) == (1, "") and "3.ckpt is skipped: " in err and "is gone, although the catalog lists it" in err
    assert not (tmp_path / "new").exists()


def test_another_run_is_not_mixed_in(store, tmp_path):
    other = RecordedRun(tmp_path / "other", run="other")
    record = other.save()
    before = record.path.read_bytes()
    code, out, err = ckpt("pull", store.url, tmp_path / "other")
    assert (code, out) == (2, "") and "holds another run, other; expected an empty directory" in err
    assert ids(tmp_path / "other") == [1] and record.path.read_bytes() == before


def test_a_mirror_is_no_run_directory(store, tmp_path):
    code, _, err = ckpt("pull", store.url, tmp_path / "mirror")
    assert code == 2 and f"{tmp_path}/mirror: is a mirror; expected another directory" in err
    assert not (tmp_path / "mirror" / ".run").exists()


def test_a_directory_in_which_a_run_trains_is_left_alone(run, store, tmp_path):
    layout = run.manifest.layout
    lock = TrainingLock(layout.training_lock, layout.owner, "LightningCheckpoint")
    lock.acquire()
    try:
        code, out, err = ckpt("pull", store.url, layout.dirpath)
    finally:
        lock.release()
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and str(layout.dirpath) in err


def test_a_file_in_the_way_is_named(store, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = ckpt("pull", store.url, tmp_path / "file")
    assert code == 2 and f"{tmp_path}/file: is a file; expected a directory for checkpoints" in err


def test_a_mirror_of_weights_has_nothing_to_resume_from(tmp_path):
    run = RecordedRun(tmp_path / "run")
    run.save(contents="weights", resumable=False)
    store = mirrored(run, tmp_path / "mirror")
    code, _, err = ckpt("pull", store.url, tmp_path / "new")
    assert code == 2 and "holds no checkpoint that a run can be resumed from; expected --record" in err
    assert ckpt("pull", store.url, tmp_path / "new", "--record", "last")[0] == 0


def test_an_outage_does_not_make_an_older_one_the_newest(run, tmp_path, monkeypatch):
    store = MemoryStore()
    run.mirror(store, keep=KeepAll())._synchronise()

    def fail(when, name, key):
        if when == "before" and key.startswith("checkpoints/"):
            raise MirrorUnreachable("memory://a: does not answer")

    store.fails = fail
    monkeypatch.setattr(places, "open_store", lambda url, options: store)
    monkeypatch.setattr(places, "PATIENCE", 0.01)
    code, out, err = ckpt("pull", "s3://bucket/run", tmp_path / "new")
    assert (code, out) == (2, "") and "memory://a: does not answer" in err
    assert not (tmp_path / "new").exists()


def test_another_checkpoint_with_the_same_id_is_told(run, store, tmp_path):
    other = RecordedRun(tmp_path / "new", losses=(1.0, 1.0, 1.0))
    other.manifest.change(3, attempt=7)
    code, out, err = ckpt("pull", store.url, tmp_path / "new")
    assert (code, out) == (2, "") and "has the id 3, as has 3.ckpt at " in err
