"""``ckpt schema``."""

import json

import pytest

from tests.cli.command_line import ckpt


def test_schema_prints_the_schema():
    config = pytest.importorskip("ckpt_callbacks.config")
    code, out, err = ckpt("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == config.json_schema()
