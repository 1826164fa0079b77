"""Faults in the calls that torch and HDF5 make from C, and the completeness of the other sweeps."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.processes import ENVIRONMENT
from tests.support.shares import share
from tests.system.faults.checks import prepared as prepared_for_writer
from tests.system.faults.inject import listing
from tests.system.faults.straced import counted, strace, straced  # noqa: F401
from tests.system.faults.trainings import (
    EPOCHS,
    check_resumes,
    load_framework,
    prepared,
    side_by_side,
    train,
    trains_in_spite_of,
)
from tests.system.faults.writer import DIRECT, FILE, FOLDER
from tests.system.faults.writer import train as write_epochs

pytestmark = pytest.mark.slow
CASES = [("lightning", "full"), ("keras", "full"), ("keras", "weights")]
WRITER = Path(__file__).with_name("writer.py")


def points(kinds):
    """Return the first, the middle and the last call of each kind."""
    return share((name, number) for name, n in kinds.items() for number in sorted({1, (n + 1) // 2, n}))


@pytest.mark.parametrize(("framework", "contents"), CASES)
def test_killed_while_a_library_writes(place, figures, framework, contents):
    load_framework(framework)
    kinds = counted((dirpath := place() / "run"), lambda: train(framework, dirpath, contents=contents))

    def job(name, number):
        def attempt():
            dirpath, acknowledged = prepared(folder := place())
            options = ["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={number}"]
            status = straced(dirpath, options, lambda: train(framework, dirpath, acknowledged, contents=contents))
            assert status == (9, ""), f"{name} {number}: ended with {status}"
            check_resumes(framework, dirpath, acknowledged, contents=contents)
            shutil.rmtree(folder)

        return attempt

    tried = points(kinds)
    losses = side_by_side(job(*point) for point in tried)
    assert not losses, "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0 ({', '.join(f'{n} {name}' for name, n in kinds.items())})")


@pytest.mark.parametrize(("framework", "contents"), CASES)
def test_an_error_while_a_library_writes(place, figures, framework, contents):
    load_framework(framework)
    kinds = counted((dirpath := place() / "run"), lambda: train(framework, dirpath, contents=contents))

    def job(name, number, error, upward):
        def attempt():
            dirpath, acknowledged = prepared(folder := place())
            options = ["-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}{upward}"]

            def first():
                trains_in_spite_of(nullcontext(), framework, dirpath, acknowledged, contents=contents)

            status = straced(dirpath, options, first)
            assert status == (0, ""), f"{error} at {name} {number}{upward}: ended with {status}"
            check_resumes(framework, dirpath, acknowledged, EPOCHS + 1, contents)
            shutil.rmtree(folder)

        return attempt

    tried = [(*point, error, "") for point in points(kinds) for error in ("ENOSPC", "EIO")]
    tried += [(*point, "ENOSPC", "+") for point in points(kinds)]  # from this call on, including the second try
    losses = side_by_side(job(*each) for each in tried)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried, losses = 0 ({', '.join(f'{n} {name}' for name, n in kinds.items())})")


# -- the sweeps over Python's calls are complete -----------------------------------------------------------------------

# The calls that change a disk, by the kernel's names and by these tests'.
CHANGING = {
    "write": "write", "pwrite64": "write", "writev": "write", "pwritev": "write", "sendfile": "write",
    "copy_file_range": "write", "fsync": "fsync", "fdatasync": "fsync", "sync_file_range": "fsync",
    "rename": "rename", "renameat": "rename", "renameat2": "rename", "link": "link", "linkat": "link",
    "unlink": "unlink", "unlinkat": "unlink", "rmdir": "rmdir", "mkdir": "mkdir", "mkdirat": "mkdir",
    "symlink": "symlink", "symlinkat": "symlink", "ftruncate": "ftruncate", "truncate": "truncate",
    "fallocate": "fallocate", "chmod": "chmod", "fchmod": "chmod", "fchmodat": "chmod", "utimensat": "utimensat",
    "open": "create", "openat": "create", "creat": "create",
}  # fmt: skip
SAME = {"replace": "rename", "remove": "unlink", "pwrite": "write"}


def whole_lines(text):
    """Return the lines with calls joined that strace splits when another thread makes a call meanwhile."""
    begun = {}
    for line in text.splitlines():
        thread, _, rest = line.partition(" ")
        if rest.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
        elif thread in begun and "resumed>" in rest:
            yield begun.pop(thread) + rest.partition("resumed>")[2]
        else:
            yield line


def seen_by_strace(log, dirpath):
    for line in whole_lines(log.read_text()):
        line = re.sub("AT_FDCWD<[^>]*>, ", "", line)
        found = re.match(r"(\d+ +)?(\w+)\((.*)\) += ", line)
        if found is None or not (paths := re.findall(r'[<"](/[^>"]*)[>"]', found[3])):
            continue
        name, path = CHANGING[found[2]], paths[-1] if found[2].startswith("symlink") else paths[0]
        if found[2] == "unlinkat":  # relative to a folder that is open
            path = os.path.join(path, re.search(r', "([^"]*)"', found[3])[1])
            name = "rmdir" if "AT_REMOVEDIR" in found[3] else name
        if name == "create" and not re.search("O_WRONLY|O_RDWR|O_CREAT", found[3]):
            continue
        if path.startswith(f"{dirpath}/") or path == str(dirpath):
            yield name, path


def without_names(calls, dirpath):
    """Return kinds and paths without the run's random id, and without ``owner.json``, which nothing depends on."""
    shown = [(name, re.sub(r"[0-9a-f]{12}", "ID", os.path.relpath(path, dirpath))) for name, path in calls]
    return [call for call in shown if not call[1].endswith("owner.json")]


@pytest.mark.parametrize("kind", [FILE, FOLDER, DIRECT])
def test_the_sweeps_leave_no_call_out(place, figures, kind):
    dirpath, acknowledged = prepared_for_writer(place)
    calls = listing(dirpath, lambda: write_epochs(dirpath, acknowledged, kind))
    ours = without_names([(SAME.get(c.name, c.name), c.path) for c in calls if c.changing], dirpath)
    dirpath, acknowledged = prepared_for_writer(place)
    log = dirpath.parent / "strace"
    command = ["strace", "-f", "-y", "-s", "0", "-o", log, "-e", f"trace={','.join(CHANGING)}", sys.executable, WRITER]
    environment = {**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*command, dirpath, acknowledged, kind], env=environment, check=True)
    assert ours == without_names(seen_by_strace(log, dirpath), dirpath)
    figures(f"{len(ours)} calls, all of them seen by both")
