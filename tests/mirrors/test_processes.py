"""Processes that train together and find their run directory empty."""

import threading
import time
from functools import partial

import pytest

from ckpt_callbacks import Mirror
from ckpt_callbacks.mirrors.mirrors import Mirrors
from ckpt_callbacks.mirrors.source import MirroredRun
from ckpt_callbacks.remote.folder_store import FolderStore
from ckpt_callbacks.run.newest_intact import newest_intact
from ckpt_callbacks.run.view import RunView
from ckpt_callbacks.store.manifest import Manifest
from tests.mirrors.runs import POLICY, SmallRun


@pytest.fixture
def mirrors(tmp_path):
    """Return the mirrors of one more process in a directory."""

    def of(dirpath):
        manifest = Manifest(dirpath)
        source = MirroredRun(manifest, lambda: manifest.verified("run"), POLICY, "lightning")
        return Mirrors([Mirror(tmp_path / "mirror")], source, "test"), manifest

    return of


def test_the_others_wait_until_the_first_process_has_brought_it_back(mirrors, tmp_path):
    run = SmallRun(tmp_path / "run")
    record = run.save()
    run.mirror(FolderStore(str(tmp_path / "mirror")))._synchronise()
    other, manifest = mirrors(tmp_path / "empty")
    thread = threading.Thread(target=other.await_back, daemon=True)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    first, _ = mirrors(tmp_path / "empty")
    assert first.bring_back().id == record.id
    thread.join(30)
    assert not thread.is_alive() and [one.id for one in manifest.live()] == [record.id]


def test_nobody_waits_for_what_no_mirror_has(mirrors, tmp_path):
    begin = time.monotonic()
    mirrors(tmp_path / "empty")[0].await_back()
    SmallRun(tmp_path / "run").save()
    mirrors(tmp_path / "run")[0].await_back()
    assert time.monotonic() - begin < 20


def test_the_others_wait_too_if_all_here_are_damaged(mirrors, tmp_path):
    run = SmallRun(tmp_path / "run")
    record = run.save()
    run.mirror(FolderStore(str(tmp_path / "mirror")))._synchronise()
    record.path.write_bytes(b"0" * record.size)
    views = [RunView(Manifest(tmp_path / "run"), POLICY) for _ in range(2)]
    first, other = (
        Mirrors(
            [Mirror(tmp_path / "mirror")], MirroredRun(view.manifest, view.records, POLICY, "lightning"), "test",
            partial(newest_intact, view),
        )
        for view in views
    )  # fmt: skip
    thread = threading.Thread(target=other.await_back, daemon=True)
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    assert first.bring_back().id == record.id
    thread.join(30)
    assert not thread.is_alive() and next(views[1].verified_resumable()).file == "1-v1.ckpt"
