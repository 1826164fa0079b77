"""Stores in folders: disks that are missing, full or read-only, locks, and what a crash leaves."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_callbacks.errors import MirrorError, MirrorUnreachable
from ckpt_callbacks.remote import folder as folder_module
from ckpt_callbacks.remote.url import open_store
from tests.support.disks import mounted
from tests.support.processes import ENVIRONMENT

from .sent_file import PART, SentFile

CALLS = ["pwrite64", "fsync", "ftruncate", "utimensat", "flock", "?link", "?linkat", "?rename", "?renameat", "?unlink"]
CHANGES = ",".join(CALLS)


def test_only_the_last_folder_of_a_path_is_created(tmp_path):
    open_store(str(tmp_path / "run")).put("a/b", b"1")
    assert (tmp_path / "run" / "a" / "b").read_bytes() == b"1"
    for call in (lambda store: store.put("a", b"1"), lambda store: store.stat("a"), lambda store: list(store.list())):
        with pytest.raises(MirrorError, match="absent; mount its disk, or create the folder") as found:
            call(open_store(str(tmp_path / "absent" / "run")))
        assert not isinstance(found.value, MirrorUnreachable)
    assert not (tmp_path / "absent").exists()


def test_a_folder_has_several_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = str(tmp_path / "a run")
    quoted = f"{tmp_path}/a%20run"
    for url in (expected, f"file://{quoted}", f"file://localhost{quoted}", "a run", "./a run", "~/a run"):
        assert open_store(url).url == expected


def test_what_is_no_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    lines = {
        "file://server/nfs/run": "names the machine server; expected file:///path, with three slashes",
        "file:": "names no folder; expected file:///path or /path",
        f"{tmp_path}/file": "is a file; expected a folder",
        f"{tmp_path}/a\nb": "names no folder",
    }
    for url, line in lines.items():
        with pytest.raises(MirrorError, match=re.escape(line)) as found:
            open_store(url).put("a", b"")
        assert "\n" not in str(found.value)
    with pytest.raises(MirrorError, match="a folder takes no storage_options; received password") as found:
        open_store(str(tmp_path), {"password": "canary"})
    assert "canary" not in str(found.value)


def test_an_unmounted_disk_is_not_taken_for_an_empty_mirror(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        above, below = open_store(str(disk)), open_store(str(disk / "run"))
        above.put("a", b"1")
        below.put("a", b"1")
    for store in (above, below):
        for call in (lambda store=store: store.put("a", b"2"), lambda store=store: list(store.list())):
            with pytest.raises(MirrorUnreachable, match="mounted"):
                call()
    assert list(disk.iterdir()) == []
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        assert above.put("a", b"3").size == 1


def test_a_full_disk_is_tried_again_later(tmp_path):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        store = open_store(str(tmp_path / "run"))
        store.put("small", b"1")
        (tmp_path / "others").write_bytes(bytes(800 << 10))
        Path("/dev/shm/sent").unlink(missing_ok=True)
        file = SentFile(Path("/dev/shm/sent"), 8 * PART)
        try:
            for _ in range(2):
                with pytest.raises(
                    MirrorUnreachable, match="No space left on device; free some space, or keep less in"
                ):
                    store.upload(file.upload())
            assert [each.key for each in store.list()] == ["small"]
            (tmp_path / "others").unlink()
            store.upload(file.upload())
        finally:
            file.path.unlink()
        assert store.read("data/a.ckpt")[0] == file.data
        assert list(store.list(unfinished=True)) == []


def test_a_read_only_disk_is_refused(tmp_path):
    with mounted(tmp_path, "-t", "tmpfs", "tmpfs"):
        store = open_store(str(tmp_path / "run"))
        store.put("a", b"1")
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(MirrorError, match="Read-only file system; mount it for writing") as found:
            store.put("a", b"2")
        assert not isinstance(found.value, MirrorUnreachable)
        assert store.read("a")[0] == b"1"


def test_a_link_leads_nowhere(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"theirs")
    store = open_store(str(tmp_path / "run"))
    store.put("a", b"1")
    (tmp_path / "run" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "run" / "file").symlink_to(tmp_path / "outside" / "file")
    os.mkfifo(tmp_path / "run" / "pipe")
    assert [each.key for each in store.list()] == ["a"]
    assert list(store.list("link/")) == [] and store.stat("file") is None
    for key in ("file", "pipe"):
        with pytest.raises(FileNotFoundError):
            store.read(key)
    for call in (lambda: store.put("link/new", b""), lambda: store.read("link/file"), lambda: store.stat("link/file")):
        with pytest.raises(MirrorError, match="a symbolic link leads out of the folder"):
            call()
    (tmp_path / "other").symlink_to(tmp_path / "run")
    assert open_store(str(tmp_path / "other")).read("a")[0] == b"1"


def test_folders_that_are_empty_go_and_come_back(tmp_path):
    store = open_store(str(tmp_path / "run"))
    written = [store.put(key, b"1") for key in ("a/b/c", "a/d")]
    store.delete(written[:1])
    assert not (tmp_path / "run" / "a" / "b").exists() and store.read("a/d")[0] == b"1"
    store.delete(written)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".ckpt_callbacks.lock"]
    store.put("a/b/c", b"2")
    assert store.read("a/b/c")[0] == b"2"


def test_a_process_that_holds_the_lock_for_ever_is_named(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "run"))
    store.put("a", b"1")
    monkeypatch.setattr(folder_module, "_PATIENCE", 0.05)
    with (tmp_path / "run" / ".ckpt_callbacks.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MirrorUnreachable, match="another process has held it"):
            store.put("a", b"2")
        assert store.read("a")[0] == b"1"
    store.put("a", b"2")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".ckpt_callbacks.lock", "a"]


ORPHAN = """
import os, sys, time
from pathlib import Path
from ckpt_callbacks.remote.folder import Folder

with Folder(Path(sys.argv[1])).lock():
    worker = os.fork()
    if not worker:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(worker, flush=True)
    os._exit(0)
"""


def test_a_worker_that_outlives_training_holds_no_lock(tmp_path):
    command = [sys.executable, "-c", ORPHAN, tmp_path]
    worker = int(subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout)
    try:
        with (tmp_path / ".ckpt_callbacks.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_two_versions_within_one_tick_of_the_clock_differ(tmp_path):
    store = open_store(str(tmp_path / "run"))
    versions = {store.put("a", b"x").version for _ in range(20)}
    assert len(versions) == 20


@pytest.mark.parametrize(
    "call",
    [
        "flock:error=ENOLCK",
        pytest.param("?link,?linkat:error=EPERM", marks=pytest.mark.slow),
        pytest.param("fsync:error=EIO:when=1", marks=pytest.mark.slow),
    ],
)
def test_a_file_system_that_lacks_something(tmp_path, call):
    """Without locks, a new object is still created once; without links, under the lock; EIO is tried again."""
    store = open_store(str(tmp_path / "run"))
    if "EIO" in call:
        assert _straced(tmp_path, call, "put").startswith("MirrorUnreachable")
        assert list(store.list()) == []
    else:
        assert _straced(tmp_path, call, "put") == f"put {'flock' not in call}"
    if "EIO" not in call:
        assert _straced(tmp_path, call, "put").startswith("MirrorConflict")
        assert store.read("a")[0] == b"new"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["put", "replace", "upload"])
def test_a_crash_at_any_call_leaves_the_old_or_the_new_object(tmp_path, what):
    first = tmp_path / "first"
    first.mkdir()
    log = first / "calls"
    assert _straced(first, f"-o{log}", what)
    count = len(re.findall(r"^(?:\d+ +)?\w+\(", log.read_text(), re.MULTILINE))
    finished = 0
    for number in range(1, count + 1):
        place = tmp_path / f"{number}"
        place.mkdir()
        _straced(place, f"{CHANGES}:signal=SIGKILL:when={number}", what)
        store = open_store(str(place / "run"))
        new = {"put": b"new", "replace": b"new", "upload": SentFile(place / "sent", 3 * PART).data}[what]
        found = {each.key: store.read(each.key)[0] for each in store.list()} if (place / "run").exists() else {}
        before = {"a": b"old"} if (place / "done").exists() else {}
        assert found in ([before, {"a": new}] if what != "replace" or before else [{}, {"a": b"old"}])
        finished += found == {"a": new}
        store.delete(list(store.list(unfinished=True)))
        assert list(store.list(unfinished=True)) == []
        store.put("a", b"again")
    assert count > 5 and finished > 0


def main() -> None:
    """Do one thing in a folder, and print what came of it."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    store = open_store(str(folder / "run"))
    try:
        if what == "upload":
            store.upload(SentFile(folder / "sent", 3 * PART).upload(key="a"))
        else:
            if what == "replace":
                store.put("a", b"old")
                (folder / "done").touch()
            store.put("a", b"new", replacing="" if what == "put" else "*")
        print("put", store.has_conditions)
    except MirrorError as error:
        print(type(error).__name__, error)


def _straced(folder: Path, fault: str, what: str) -> str:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    traced = [fault, f"-etrace={CHANGES}"] if fault.startswith("-o") else ["-o", os.devnull, f"-einject={fault}"]
    command = ["strace", "-f", "-qq", *traced, sys.executable, "-m", "tests.remote.test_folder_store", folder, what]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    if "ptrace" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace another process")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
