"""One contract for every adapter: the same curve gives the same decisions, reasons and survivors."""

import json
from pathlib import Path

import pytest

from tests.support.forks import forks_of
from tests.support.variants import only_quick
from tests.system.contract import expected

HERE = Path(__file__).parent
ADAPTERS = {
    "lightning": ("play_lightning.py", {}),
    "keras-tensorflow": ("play_keras.py", {}),
    "keras-torch": ("play_keras.py", {"KERAS_BACKEND": "torch"}),
    "keras-jax": ("play_keras.py", {"KERAS_BACKEND": "jax"}),
}
CASES = {
    "all saved": ([], expected.ALL_SAVED, expected.ALL_SAVED_SURVIVORS, expected.ALL_SAVED_ALIASES),
    "every second dropped": (
        ["drop"],
        expected.EVERY_SECOND_DROPPED,
        expected.EVERY_SECOND_DROPPED_SURVIVORS,
        expected.EVERY_SECOND_DROPPED_ALIASES,
    ),
}


@pytest.mark.parametrize("adapter", only_quick(ADAPTERS, "lightning", "keras-tensorflow"))
@pytest.mark.parametrize("case", only_quick(CASES, "all saved"))
def test_the_curve_gives_the_expected_decisions(adapter, case, tmp_path):
    script, environment = ADAPTERS[adapter]
    flags, saves, survivors, aliases = CASES[case]
    printed = forks_of(**environment).run(HERE / script, tmp_path / "run", *flags)
    got = json.loads(printed.splitlines()[-1])
    assert [tuple(save) for save in got["saves"]] == saves
    assert {int(step): reasons for step, reasons in got["survivors"].items()} == survivors
    assert len(got["files"]) == len(survivors), "what survives is what is on disk"
    assert got["aliases"] == aliases
    assert (got["epochs"], got["stop"]) == (expected.STOPPED_AFTER_EPOCH, [expected.STOP])
