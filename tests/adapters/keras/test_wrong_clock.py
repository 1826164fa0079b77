"""Saves and resumes while the clock shows a date that no zip archive can hold."""

import time

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.formats.keras import writer
from tests.adapters.keras.task import checkpoint, fit, quick, same
from tests.support.variants import only_quick

POLICY = Policy(Every(epochs=1), KeepAll())
DATES = {"a board without a battery": 3600, "1979": 9 * 365 * 86400, "2150": 180 * 365 * 86400}


@pytest.mark.slow
@pytest.mark.parametrize("how", only_quick(["copied", "in place", "by Keras"], "copied", "in place"))
@pytest.mark.parametrize("date", only_quick(DATES, "a board without a battery", "2150"))
def test_a_run_saves_and_resumes_whatever_the_clock_shows(tmp_path, monkeypatch, caplog, date, how):
    now, began = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: DATES[date] + now() - began)
    if how == "by Keras":
        monkeypatch.setattr(writer, "_lay_down", lambda *_: 1 / 0)
    settings = {"staging": "none" if how == "in place" else "memory"}
    whole = quick()
    fit(whole, epochs=2)
    first = checkpoint(tmp_path, POLICY, **settings)
    fit(quick(), first, epochs=1)
    resumed = quick()
    fit(resumed, checkpoint(tmp_path, POLICY, **settings), epochs=2)
    assert same(resumed, whole)
    assert "was not saved" not in caplog.text
    assert keras.saving.load_model(first.records()[0].path).count_params()
