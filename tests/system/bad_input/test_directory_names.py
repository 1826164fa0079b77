"""Run directories with names that few people would choose."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import ENVIRONMENT, ROOT
from tests.support.variants import only_quick
from tests.system.bad_input.runs import RESUMABLE

NAMES = {
    "Latin-1": b"caf\xe9",
    "GBK": "模型".encode("gbk"),
    "half a letter": "modè".encode()[:-1],
    "Chinese": "模型".encode(),
    "a new line": b"a\nb",
    "patterns": b"[x]*?{a}",
    "signs": b"100%s & `b` 'c'",
    "long": b"x" * 200,
}
# In a process of its own, because pytest-xdist cannot send reports with text that is not UTF-8.
SCRIPT = """
import sys
from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.system.bad_input.runs import fit

kind, dirpath = sys.argv[1:]
fit(kind, dirpath, epochs=1)
resumed = fit(kind, dirpath, epochs=2)
assert [attempt.parent for attempt in Manifest.read(dirpath).attempts] == [None, resumed.records()[0].id]
for command in ("ls", "verify", "doctor"):
    assert ckpt(command, dirpath).exit_code == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESUMABLE)
@pytest.mark.parametrize("name", only_quick(NAMES, "Latin-1"))
def test_a_run_saves_and_resumes_in_a_directory_of_any_name(tmp_path, kind, name):
    command = [sys.executable, "-c", SCRIPT, kind, os.fsencode(tmp_path) + b"/" + NAMES[name]]
    ran = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, timeout=120)
    told = ascii(ran.stderr.decode(errors="replace"))
    assert ran.returncode == 0, told
    assert "was not saved" not in told
