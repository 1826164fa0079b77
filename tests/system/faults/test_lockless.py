"""File systems without locks, as NFS without lockd: a filter of the kernel refuses each lock of a forked process."""

import ctypes
import errno
import logging
import os
import platform
import struct
import sys

import pytest

from ckpt_callbacks import DirectoryInUse, EventKind, Every, KeepAll, Policy
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.training import look_for_requests_at_once, new_run, report, start
from tests.system.faults.inject import in_child

_FCNTL = {"x86_64": 72, "aarch64": 25}.get(platform.machine())
_LOCKING = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and the same for open-file-description locks
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NO_FILTER = 77
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or _FCNTL is None, reason="the filter is written for two architectures of Linux"
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse_locks(error):
    """Let each locking call of this process fail from now on."""
    rules = [(_LOAD, 0, 0, 0), (_EQUALS, 0, len(_LOCKING) + 1, _FCNTL), (_LOAD, 0, 0, 24)]  # the number, the command
    rules += [(_EQUALS, len(_LOCKING) - index, 0, command) for index, command in enumerate(_LOCKING)]
    rules += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | error)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    system = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(rules), ctypes.addressof(code))
    assert system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    if system.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        os._exit(_NO_FILTER)


POLICY = Policy(Every(epochs=1), KeepAll())


def train(dirpath, epochs):
    run = new_run(dirpath, POLICY, background=False)
    run.open()
    start(run)
    for epoch in epochs:
        report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, complete=True)
    return run


@pytest.mark.parametrize("error", [errno.ENOLCK, *(pytest.param(e, marks=pytest.mark.slow) for e in
                                                   (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL))])  # fmt: skip
def test_training_goes_on_and_one_line_says_what_is_not_noticed(tmp_path, error):
    def work():
        lines = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        logging.getLogger("ckpt_callbacks").addHandler(handler)
        refuse_locks(error)
        for epochs in ([1, 2], [3]):
            run = train(tmp_path, epochs)
            with pytest.raises(DirectoryInUse, match="in this process"):
                train(tmp_path, [])
            run.close()
        [line] = [message for message in lines if "has no locks" in message]
        assert line.startswith(f"{tmp_path}: ") and "a second training run" in line
        assert len(Manifest.read(tmp_path).live()) == 3
        for command in ("ls", "verify", "doctor"):
            assert ckpt(command, tmp_path).exit_code == 0
        assert ckpt("doctor", "--dry-run", tmp_path).exit_code == 0
        manifest = Manifest.read(tmp_path)
        manifest.compact(manifest.live)
        assert not manifest.layout.history.exists(), "a line of another writer could have been lost"
        run = train(tmp_path, [])
        assert ckpt("save", tmp_path).exit_code == 0
        look_for_requests_at_once(run)
        report(run, EventKind.STEP_END, step=4, epoch=3)
        assert [r.step for r in run.view.records()] == [4]
        run.close()

    status = os.waitstatus_to_exitcode(in_child(work))
    if status == _NO_FILTER:
        pytest.skip("the kernel accepts no filter")
    assert status == 0
