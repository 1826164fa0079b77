"""``ckpt`` on terminals and pipes, and the time that it takes to start."""

import os
import pty
import re
import subprocess
import sys

from ckpt_callbacks import Record, Status
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import COMMAND, ckpt, on_terminal, without_colours
from tests.support.processes import ENVIRONMENT


def test_a_terminal_gets_lines_that_fit_and_pipes_do_not(run_dir):
    for columns in (70, 80, 200):
        code, drawn = on_terminal(columns, "ls", run_dir, "--why")
        lines = without_colours(drawn)
        assert code == 0
        assert "\x1b[" in drawn
        assert max(map(len, lines)) <= columns
        metrics = ["metrics"] if columns == 200 else []
        assert lines[0].split() == ["id", "file", "step", "epoch", *metrics, "size", "status", "saved", "aliases"]
        assert "kept because: last; best; newest resumable" in "\n".join(lines)
        assert lines[-1] == "2 deleted; --all shows them"
    piped = subprocess.run(
        [*COMMAND, "ls", run_dir], env=ENVIRONMENT | {"COLUMNS": "30"}, capture_output=True, text=True
    )
    assert piped.stdout == ckpt("ls", run_dir)[1]


def test_a_long_file_name_is_never_wrapped_nor_cut(run_dir):
    name = "Transformer-with-a-long-description-epoch=0004-step=00000040.ckpt"
    (run_dir / "004.ckpt").rename(run_dir / name)
    Manifest.read(run_dir).change(4, file=name)
    lines = without_colours(on_terminal(80, "ls", run_dir)[1])
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines].count(name) == 1
    assert lines[0].split() == ["id", "step", "epoch", "size", "status", "saved", "aliases"]


def test_log_fits_a_terminal(timed_dir):
    code, drawn = on_terminal(100, "log", timed_dir)
    lines = without_colours(drawn)
    assert code == 0
    assert lines[0].split() == ["id", "saved", "step", "epoch", "blocked", "durable", "size", "status"]
    assert "error: OSError: [Errno 28] No space left on device" in lines[-1]
    assert max(map(len, lines)) <= 100
    narrow = without_colours(on_terminal(60, "log", timed_dir)[1])
    assert {"id", "step", "status"} <= set(narrow[0].split()) and max(map(len, narrow)) <= 60


def test_verify_draws_progress_on_a_terminal_only(run_dir):
    code, drawn = on_terminal(100, "verify", run_dir)
    assert code == 0
    assert "4.7/4.7 kB" in drawn
    for result in re.finditer(r"ok\x1b\[0m +/", drawn):
        assert re.search(r"(\n|\x1b\[2K|\r)(\x1b\[[0-9;]*m)*$", drawn[: result.start()]), "glued to the bar"
    lines = without_colours(drawn)
    assert [line for line in lines if line.startswith(("ok", "2 of"))][-1] == "2 of 2 checkpoints verified"
    parent, child = pty.openpty()  # errors go to a terminal, results do not
    piped = subprocess.run(
        [*COMMAND, "verify", run_dir], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=child, text=True
    )
    os.close(child)
    os.close(parent)
    assert piped.stdout == ckpt("verify", run_dir)[1]


def test_a_reader_that_leaves_is_no_error(tmp_path):
    manifest = Manifest(tmp_path)
    for id_ in range(1, 30):
        manifest.put(Record(id_, f"{id_}.ckpt", status=Status.VERIFIED, reasons=("x" * 9999,)))
    for arguments in (["ls"], ["ls", "--json"], ["log"], ["verify"], ["verify", "--json"]):
        process = subprocess.Popen([*COMMAND, *arguments, tmp_path], env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait()


def test_it_loads_no_framework_to_start_quickly():
    code = """
import sys
import ckpt_callbacks.cli
dear = {"torch", "keras", "lightning", "tensorflow", "jax", "numpy", "pydantic", "rich", "ruamel", "yaml"}
print(sorted(dear.intersection(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
