"""Keras' own tests of its callbacks, on each backend, with the drop-ins in their place."""

import importlib.util

import pytest

from tests.drop_ins.keras_suites import BACKENDS, REFUSED, outcomes
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_drop_ins_pass_the_tests_of_keras_except_for_those_in_the_list(tmp_path, backend):
    if importlib.util.find_spec(BACKENDS[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    found = outcomes(backend, tmp_path)
    assert {name for name, passed in found.items() if not passed} == REFUSED.keys()
    text = (ROOT / "docs" / "drop-ins.md").read_text()
    assert f"{len(found) - len(REFUSED)} of {len(found)}" in text and all(f"`{name}`" in text for name in REFUSED)
