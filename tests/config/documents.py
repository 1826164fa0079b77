"""YAML documents, and how the tests read them."""

import pytest
from ruamel.yaml import YAML

from ckpt_callbacks import (
    ConfigError,
)
from ckpt_callbacks.config import Config

EVENING = 1795561200.0  # 2026-11-24, 23:00 UTC
EXAMPLE = """
# ckpt.yaml: a list means "|", {all: [...]} means "&", {not: ...} means "~"
version: 1
dirpath: runs/a
filename: "{model}-{epoch:03d}-{val_loss:.3f}"
metrics:
  val: {monitor: val_loss, mode: min, smoothing: {ema: 0.3}, min_delta: 0.001}
save: [{every: {epochs: 1}}, {every: {minutes: 20}}, {improves: val}, on_preempt]
keep: [{last: 3}, {best: {n: 2, by: val}}, {every: {epochs: 10}}, {tagged: release}]
stop: [{patience: {by: val, checks: 5, start_from_epoch: 3}}, {non_finite: {monitor: [train_loss, loss]}}]
contents: full
metadata: {dataset: digits-v1}
"""
# Every form that the file knows, the short ones included.
EVERYTHING = """
metrics:
  val: {monitor: [val_loss, loss], mode: min, smoothing: {mean: 3}, min_delta_mode: rel, min_delta: 1e-4}
  score:
    {monitor: {acc: 1, err: -0.5}, mode: max, smoothing: {median: 5}, baseline: 0.5, start_from_epoch: 2, nan: skip}
save:
  - all: [{every: {steps: 100}}, {not: {at: {epochs: [1, 2]}}}]
  - any: [{at: {steps: 7}}, {improves: val.raw}]
  - not: [{every: {hours: 0.5}}, {every: {seconds: 30}}, {every: 20 min}]
  - on_preempt
  - on_exception
  - on_deadline: {before: 10 min}
  - all: [{every: {overhead: 0.01}}, {optimal: {mtbf: 6 h}}]
  - on_deadline: {before: 90, end: "2026-11-25T00:00:00+01:00"}
keep:
  [all, {every: {steps: 1000}}, {every: {hours: 5}}, {every: 2 d}, {within: {hours: 2.5}}, {within: 1.5 h},
   {best: {by: score}, contents: weights}]
stop:
  - reaches: {by: val, value: 0.1}
  - diverges: {by: val.raw, value: 100}
  - non_finite: {monitor: loss, consecutive: 3}
best_by: score
on_error: raise
contents: weights
grace: 1.5 min
resume: {optimizer: false, step: true}
min_free: 2 GiB
max_total_size: 50 GB
mirrors:
  [s3://bucket/run,
   {url: /nfs/run, keep: [{best: 2}, {last: 1, contents: weights}], contents: {kind: weights, dtype: bf16},
    every: 10 min, max_upload_rate: 10 MB/s, storage_options: {auto_mkdir: true}}]
"""
WITH_NUMBERS = "save: {on_deadline: {before: 600, end: 1795561200}}\ngrace: 30\nmin_free: 5000"
PREDICATE = "save: {predicate: 'tests.support.strategies:even_step'}"


def parse(text):
    return YAML(typ="safe", pure=True).load(text)


def read(tmp_path, text, **options):
    path = tmp_path / "ckpt.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Config.from_yaml(path, **options)


def problems_of(tmp_path, text, **options):
    """The lines of the error, with the path of the file taken off."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **options)
    begin = f"{tmp_path / 'ckpt.yaml'}: "
    assert all(line.startswith(begin) for line in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [line.removeprefix(begin) for line in caught.value.problems]


def policy_of(**document):
    return Config.from_mapping({"save": "on_preempt", **document}).policy
