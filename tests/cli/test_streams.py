"""Paths and outputs that are no regular file: a pipe, a device, or nothing."""

import os
import socket
import subprocess
import sys

import pytest

from tests.cli.command_line import COMMAND, ckpt
from tests.support.processes import ENVIRONMENT


def made(tmp_path, kind):
    path = tmp_path / "ckpt.yaml"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made_by:
            made_by.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
def test_what_is_no_file_is_named_and_not_waited_for(run_dir, tmp_path, kind):
    path = made(tmp_path, kind)
    problem = f"{path}: is {kind}; expected a YAML file\n"
    assert ckpt("check", path) == (1, "", problem)
    assert ckpt("log", run_dir, "--config", path) == (2, "", f"Error: {problem}")


def test_a_stream_of_the_shell_is_read():
    reader, writer = os.pipe()
    os.write(writer, b"monitor: val_loss\n")
    os.close(writer)
    assert ckpt("check", f"/dev/fd/{reader}")[0] == 0
    os.close(reader)


@pytest.mark.parametrize("command", ["ls", pytest.param("verify", marks=pytest.mark.slow)])
def test_closed_outputs_are_no_error(run_dir, command):
    closing = f"import os, sys; [os.close(int(n)) for n in sys.argv[1]]; os.execv({sys.executable!r}, sys.argv[2:])"
    for closed in ("1", "12"):
        arguments = [sys.executable, "-c", closing, closed, *COMMAND, command, str(run_dir)]
        ended = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
