"""``ckpt log``."""

import json
import re

import pytest

from ckpt_callbacks import Every, Optimal, Policy
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt

ADAPTIVE = Policy(save=Every(overhead=0.01) | Every(steps=5) & Optimal(mtbf="4 h"))


def test_log_tells_the_history_in_order(timed_dir):
    code, out, err = ckpt("log", timed_dir)
    assert (code, err) == (0, "")
    assert [re.sub(r" {2,}", " | ", line.strip()) for line in out.splitlines()] == [
        "id | saved | step | epoch | blocked | durable | size | status | saved because | error",
        "1 | 2023-11-14T23:13:20Z | 10 | 1 | 2.3 kB | deleted | "
        "ema(0.5) of val_loss improved to 1; val_loss improved to 1",
        "2 | 2023-11-15T00:13:20Z | 20 | 2 | 4 s | 8 s | 2.3 kB | deleted | "
        "ema(0.5) of val_loss improved to 0.75; val_loss improved to 0.5",
        "3 | 2023-11-15T01:13:20Z | 30 | 3 | 0.25 s | 0.5 s | 2.3 kB | verified | "
        "ema(0.5) of val_loss improved to 0.575; val_loss improved to 0.4",
        "4 | 2023-11-15T02:13:20Z | 40 | 4 | 0.5 s | 1 s | 2.3 kB | verified | "
        "ema(0.5) of val_loss improved to 0.4375; val_loss improved to 0.3",
        "5 | 2023-11-15T03:13:20Z | 50 | 5 | 1.67 min | failed | "
        "ema(0.5) of val_loss improved to 0.31875; val_loss improved to 0.2 | "
        "OSError: [Errno 28] No space left on device",
    ]


def test_log_tells_the_interval_that_each_adaptive_rule_chose_and_why(timed_dir, tmp_path):
    config = pytest.importorskip("ckpt_callbacks.config")
    manifest = Manifest.read(timed_dir)
    facts = {"policy": config.Config(ADAPTIVE).to_mapping()}
    manifest.start(Attempt(manifest.attempts[-1].run, 2, 4, 0.0, facts))
    # of 4, 0.25 and 0.5 s the median; what the failed save took is no measure
    rules = [
        "overhead 1%: every 50 s, because a save blocks 0.5 s",
        "optimal for a failure every 4 hours: every 2 min, because a save blocks 0.5 s",
    ]
    assert ckpt("log", timed_dir)[1].splitlines()[-2:] == rules
    (tmp_path / "ckpt.yaml").write_text("save: {every: {overhead: 0.1}}")
    assert ckpt("log", timed_dir, "--config", tmp_path / "ckpt.yaml")[1].splitlines()[5:] == [
        ckpt("log", timed_dir)[1].splitlines()[5],
        "overhead 10%: every 5 s, because a save blocks 0.5 s",
    ]
    lines = [json.loads(line) for line in ckpt("log", timed_dir, "--json")[1].splitlines()]
    records = Manifest.read(timed_dir).records
    assert lines[:5] == [records[id_].to_json() for id_ in range(1, 6)]
    assert lines[5] == {"rule": "Every(overhead=0.01)", "interval": 50.0, "because": rules[0]}
    assert [line.get("rule") for line in lines[6:]] == ["Optimal(mtbf=14400)"]


def test_superseded_saves_and_those_of_another_run_do_not_count_as_measurements(timed_dir, tmp_path):
    (tmp_path / "ckpt.yaml").write_text("save: {every: {overhead: 0.01}}")
    manifest = Manifest.read(timed_dir)
    for id_ in (2, 4):
        manifest.change(id_, superseded=True)
    arguments = ("log", timed_dir, "--config", tmp_path / "ckpt.yaml")
    assert ckpt(*arguments)[1].splitlines()[-1] == "overhead 1%: every 25 s, because a save blocks 0.25 s"
    manifest.start(Attempt("another", 1, None, 0.0))
    assert ckpt(*arguments)[1].splitlines()[-1] == "overhead 1%: at once, because no save was measured yet"
    assert json.loads(ckpt(*arguments, "--json")[1].splitlines()[-1])["interval"] is None
