"""Two users of a group who train in turn in one directory, and a user who may only read it, or not even that."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from ckpt_callbacks import EventKind, Every, KeepLast, Policy, StoreError
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.training import look_for_requests_at_once, new_run, report, start
from tests.system.faults.inject import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes other users")

POLICY = Policy(Every(epochs=1), KeepLast(2))
GROUP, FIRST, SECOND, STRANGER = 54321, 54301, 54302, 54303


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported(tmp_path_factory):
    """Python itself may be where other users cannot read."""
    run = train(tmp_path_factory.mktemp("warm") / "run", [1])
    for command in ("save", "ls", "verify", "doctor"):
        ckpt(command, run.dirpath)
    run.close()
    ckpt("rm", "--force", run.dirpath, "1")


@pytest.fixture
def dirpath():
    """A folder of the group, outside of what belongs to root alone."""
    shared = Path(tempfile.mkdtemp())
    os.chown(shared, FIRST, GROUP)
    shared.chmod(0o2775)
    yield shared / "runs" / "a"
    shutil.rmtree(shared)


def as_user(user, umask, work, groups=(GROUP,)):
    """Do something as another user, in a fork of this process."""

    def become():
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        os.umask(umask)
        work()

    assert in_child(become) == 0


def train(dirpath, epochs):
    run = new_run(dirpath, POLICY, background=False)
    run.open()
    found = run.view.last()
    start(run)
    run.view.current = found.run if found else run.view.current
    for epoch in epochs:
        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True)
    return run


def test_a_second_user_of_the_group_trains_saves_and_deletes(dirpath):
    def work(*epochs):
        train(dirpath, epochs).close()
        assert ckpt("doctor", dirpath).exit_code == 0

    as_user(FIRST, 0o002, lambda: work(1, 2, 3))
    as_user(SECOND, 0o002, lambda: work(4, 5, 6))
    as_user(FIRST, 0o002, lambda: work(7, 8, 9))
    records = Manifest.read(dirpath).records.values()
    assert {record.status.value for record in records} == {"verified", "deleted"} and len(records) == 9
    for path in (dirpath, *dirpath.rglob("*")):
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


def test_a_second_user_asks_the_first_ones_run_for_a_save(dirpath):
    def ask():
        for _ in range(2):
            assert ckpt("save", dirpath).exit_code == 0

    def is_refused():
        shown = ckpt("save", dirpath)
        assert shown.exit_code == 2 and len(shown.stderr.splitlines()) == 1, shown

    def work():
        os.setegid(GROUP)
        os.umask(0o002)
        os.seteuid(FIRST)
        run = train(dirpath, [1])
        for user in (SECOND, FIRST, SECOND):
            os.seteuid(0)
            as_user(user, 0o002, ask)
            os.seteuid(FIRST)
            look_for_requests_at_once(run)
            report(run, EventKind.STEP_END, step=run.view.last().step + 1, epoch=1)
            assert not os.path.lexists(run.dirpath / "SAVE_NOW")
        assert run.view.last().step == 4
        os.seteuid(0)
        as_user(STRANGER, 0o022, is_refused, groups=())
        os.seteuid(FIRST)
        run.close()

    assert in_child(work) == 0


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize(
    "act", ["fit", "save", *(pytest.param(act, marks=pytest.mark.slow) for act in ("ls", "doctor", "verify", "rm"))]
)
def test_who_may_not_write_is_told_in_one_line(dirpath, umask, act):
    as_user(FIRST, umask, lambda: train(dirpath, [1, 2]).close())

    def refused():
        if act == "fit":
            with pytest.raises(StoreError) as caught:
                train(dirpath, [3])
            assert str(dirpath) in str(caught.value) and "\n" not in str(caught.value)
            return
        shown = ckpt(act, dirpath, *["1"] * (act == "rm"))
        readable = {"ls": 0, "verify": 0, "save": 1} if umask == 0o022 else {}  # 1: no training is running here
        assert shown.exit_code == readable.get(act, 2), shown
        assert len(shown.stderr.splitlines()) == (shown.exit_code != 0), shown.stderr

    as_user(STRANGER, 0o022, refused, groups=())
    assert len(Manifest.read(dirpath).live()) == 2
