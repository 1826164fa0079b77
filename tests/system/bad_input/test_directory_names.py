"""Run directories with names that few people would choose."""

import os

import pytest

from ckpt_callbacks.store.manifest import Manifest
from tests.support.command import ckpt
from tests.support.variants import only_quick
from tests.system.bad_input.runs import RESUMABLE, fit

NAMES = {
    "Latin-1": b"caf\xe9",
    "Chinese": "模型".encode(),
    "a new line": b"a\nb",
    "patterns": b"[x]*?{a}",
    "signs": b"100%s & `b` 'c'",
    "long": b"x" * 200,
}


@pytest.mark.parametrize("kind", RESUMABLE)
@pytest.mark.parametrize("name", only_quick(NAMES, "Latin-1"))
def test_a_run_saves_and_resumes_in_a_directory_of_any_name(tmp_path, caplog, kind, name):
    dirpath = os.fsdecode(os.fsencode(tmp_path) + b"/" + NAMES[name])
    fit(kind, dirpath, epochs=1)
    resumed = fit(kind, dirpath, epochs=2)
    assert "was not saved" not in caplog.text
    assert [attempt.parent for attempt in Manifest.read(dirpath).attempts] == [None, resumed.records()[0].id]
    for command in ("ls", "verify", "doctor"):
        assert ckpt(command, dirpath).exit_code == 0
