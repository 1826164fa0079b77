"""The commands about mirrors, in each place."""

import json

import pytest

from ckpt_callbacks import open_run
from ckpt_callbacks.store.digest import digest
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, there

from .file_places import PARAMETERS

# Those of rclone differ only in what is behind rclone, which starts a process for each request.
PLACES = [one for one in PARAMETERS if one == "folder" or one.values[0] not in ("rclone-sftp", "rclone-webdav")]


@pytest.fixture(params=PLACES)
def place(request, places, tmp_path):
    return places.place(request.param, tmp_path)


@pytest.fixture
def run(tmp_path):
    run = RecordedRun(tmp_path / "run")
    for loss in (3.0, 1.0, 2.0, 2.0):
        run.save(loss, size=1000)
    return run


def told(place, *arguments):
    """Run a command with the options of the place, and return its exit code and its output; no secret is in it."""
    given = [part for name, value in place.options.items() for part in ("--storage-option", f"{name}={value}")]
    code, out, err = ckpt(*arguments, *given)
    assert "canary" not in out + err and "Traceback" not in err
    return code, out, err


def test_a_run_goes_there_and_comes_back_by_commands(run, place, tmp_path):
    dirpath = run.manifest.layout.dirpath
    assert told(place, "push", dirpath, place.url)[::2] == (0, "")
    code, out, err = told(place, "ls", place.url, "--json")
    assert (code, err) == (0, "") and [json.loads(line)["id"] for line in out.splitlines()] == [2, 3, 4]
    code, out, err = told(place, "mirror", "check", place.url, "--read-data-subset", "100%")
    assert (code, err) == (0, "") and "3 checkpoints read: nothing is wrong" in out, out
    code, out, err = told(place, "mirror", "status", dirpath, "--json")
    status = json.loads(out)
    assert (code, status["records"], status["missing"], status["error"]) == (0, 3, 0, "")
    code, out, err = told(place, "pull", place.url, tmp_path / "new")
    assert (code, err) == (0, "")
    record = run.manifest.records[4]
    assert open_run(tmp_path / "new").resume_path() == f"{tmp_path}/new/4.ckpt"
    assert digest(tmp_path / "new" / "4.ckpt") == (record.digest, record.size)


def test_a_plan_is_carried_out_there(run, place, tmp_path):
    dirpath, plan = run.manifest.layout.dirpath, tmp_path / "plan"
    assert told(place, "push", dirpath, place.url, "--all")[0] == 0
    run.save(2.0)
    assert told(place, "sync", dirpath, place.url, "--plan", plan)[0] == 0
    assert told(place, "sync", dirpath, place.url, "--apply", plan)[::2] == (0, "")
    assert there(place.open()) == [2, 4, 5]
    code, out, _ = told(place, "mirror", "check", place.url)
    assert code == 0 and "3 checkpoints" in out and "nothing is wrong" in out, out


def test_what_is_lost_or_left_over_there_is_found(run, place):
    dirpath, store, orphan = run.manifest.layout.dirpath, place.open(), "checkpoints/0123456789abcdef/old.ckpt"
    told(place, "push", dirpath, place.url)
    store.put(orphan, b"bytes")
    store.put("checkpoints/readme", b"somebody else's")
    (lost,) = [one for one in store.list("checkpoints/") if one.key.endswith("/4.ckpt")]
    store.delete([lost])
    code, out, _ = told(place, "mirror", "check", place.url, "--clean", "--older-than", "1h")
    assert code == 1 and [line.partition(":")[0] for line in out.splitlines()[:-1]] == ["missing", "orphan"], out
    assert "may still need it" in out and store.stat(orphan) is not None
    code, out, _ = told(place, "mirror", "check", place.url, "--clean", "--older-than", "0")
    assert code == 1 and "; deleted" in out and store.stat(orphan) is None and "1 problem" in out
    assert store.stat("checkpoints/readme") is not None
