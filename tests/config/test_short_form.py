"""The default policy, as arguments of the callbacks and in a file."""

import pytest

from ckpt_callbacks import ConfigError, Every, Improves, KeepBest, KeepLast, OnPreempt, Patience, Policy, PolicyError
from ckpt_callbacks.config import Config, json_schema
from ckpt_callbacks.config.arguments import build_config
from tests.config.documents import parse, read


@pytest.mark.parametrize(
    "short",
    [
        {"monitor": "val_loss"},
        {"monitor": "val/acc", "patience": 5},
        {"monitor": "reward", "mode": "max"},
        {"monitor": ["val_loss", "loss"], "mode": "min", "patience": 1},
    ],
)
def test_a_callback_and_a_file_take_the_same_short_form(short):
    policy = Policy.default(**short)
    assert build_config("KerasCheckpoint", "runs/a", None, **short).policy == policy
    document = {**short, "version": 1, "dirpath": "runs/a", "grace": "5 s", "filename": "{epoch}"}
    found = Config.from_mapping(document)
    assert found.policy == policy and (found.settings.dirpath, found.settings.grace) == ("runs/a", 5.0)
    assert Config.from_mapping(found.to_mapping()) == found
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator(json_schema()).validate(document)


def test_a_file_name_may_hold_the_monitored_metric(tmp_path):
    assert read(tmp_path, "{monitor: times, mode: min, filename: '{times}'}").settings.filename == "{times}"
    with pytest.raises(ConfigError, match=r"filename: '\{times\}': unknown name \{times\}; did you mean \{time\}"):
        read(tmp_path, "{monitor: loss, filename: '{times}'}")


@pytest.mark.parametrize(
    ("policy", "short", "message"),
    [
        (None, {}, "policy is missing; expected a Policy, or monitor='val_loss' for the default one"),
        (None, {"mode": "min"}, "policy is missing; expected .*; got only mode"),
        (Policy(OnPreempt()), {"monitor": "val_loss"}, "got policy and monitor; expected one of them"),
        (Policy(OnPreempt()), {"patience": 5, "mode": "min"}, "got policy and mode, patience; expected one of them"),
        (
            None,
            {"monitor": "reward"},
            "monitor: 'reward' does not say whether less or more is better; expected mode='min'",
        ),
        (None, {"monitor": "val_loss", "mode": "least"}, "monitor: mode is 'least'; expected 'min' or 'max'"),
        (
            None,
            {"monitor": "reward", "mode": "auto"},
            "monitor: 'reward' does not say .*; expected mode='min' or mode=",
        ),
        (None, {"monitor": "val_loss", "patience": 0}, "patience is 0; expected a whole number of at least 1"),
        ("val/score", {}, "policy is 'val/score', which is no file; for a metric, expected monitor='val/score'"),
        ("val_loss", {}, "policy is 'val_loss', which is no file; for a metric, expected monitor='val_loss'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(policy, short, message):
    with pytest.raises(PolicyError, match=f"^LightningCheckpoint: {message}") as caught:
        build_config("LightningCheckpoint", "runs/a", policy, **short)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "monitor: reward",
            "monitor: 'reward' does not say whether less or more is better; expected mode: min or mode: max beside mon",
        ),
        ("monitor: val_los", "monitor: 'val_los' does not say .*; did you mean 'val_loss'"),
        ("metrics: {a: {monitor: quality}}\nsave: {improves: a}", "metrics.a: 'quality' does not .*; expected mode"),
        ("monitor: 3", "monitor: got 3; expected a metric's name"),
        ("monitor: val_loss\npatience: 0", "patience: got 0; expected a whole number of at least 1"),
        ("monitor: val_loss\nmode: up", "mode: got 'up'; expected min or max or auto"),
        (
            "monitor: val_loss\npatence: 3",
            "unknown field 'patence'; expected one of version, .*; did you mean 'patience'",
        ),
        (
            "monitor: val_loss\nsave: on_preempt\nkeep: all",
            "got monitor and save, keep, but monitor stands for a whole policy, the default one; expected either",
        ),
    ],
)
def test_a_short_file_that_makes_no_sense_is_refused_in_one_line(text, message):
    with pytest.raises(ConfigError, match=f"^policy: {message}") as caught:
        Config.from_mapping(parse(text))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "short", "policy"),
    [
        ("monitor: val_loss", {"patience": 3}, Policy.default("val_loss", patience=3)),
        ("{monitor: val_loss, patience: 9}", {"patience": 3}, Policy.default("val_loss", patience=3)),
        ("monitor: reward", {"mode": "max"}, Policy.default("reward", mode="max")),
        ("{monitor: reward, mode: max}", {"mode": "auto"}, Policy.default("reward", mode="max")),
        ("{monitor: val_loss, mode: auto}", {}, Policy.default("val_loss")),
        ("{monitor: err, mode: min, patience: 2}", {"monitor": "acc"}, Policy.default("acc", patience=2)),
        ("grace: 5 s", {"monitor": "val_loss"}, Policy.default("val_loss")),
    ],
)
def test_an_argument_completes_the_short_form_of_a_file(tmp_path, text, short, policy):
    path = tmp_path / "short.yaml"
    path.write_text(text)
    for given in (path, parse(text)):
        assert build_config("KerasCheckpoint", tmp_path, given, **short).policy == policy


def test_an_argument_beside_the_rules_of_a_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text("save: on_preempt\nkeep: {last: 1}")
    with pytest.raises(ConfigError) as caught:
        build_config("KerasCheckpoint", tmp_path, path, patience=3)
    [line] = caught.value.problems
    assert line.startswith(f"{path}: got patience as an argument, but the file has save, keep; expected a file")
    assert line.endswith("to stop early, write stop: {patience: {by: ..., checks: ...}}")


def test_a_null_is_left_out_where_none_is_in_python():
    short = {"monitor": "val_loss"}
    nulls = ("dirpath", "mode", "patience", "filename", "resume")
    assert Config.from_mapping(short | dict.fromkeys(nulls)) == Config.from_mapping(short)
    metric = {"monitor": "val_loss"}
    whole = {"metrics": {"val": metric}, "save": {"improves": "val"}}
    with_nulls = {"val": metric | dict.fromkeys(("mode", "smoothing", "baseline"))}
    assert Config.from_mapping(whole | {"metrics": with_nulls, "stop": None, "best_by": None}) == Config.from_mapping(
        whole
    )
    for name in ("save", "keep"):
        with pytest.raises(ConfigError, match=f"{name}: got nothing; expected"):
            Config.from_mapping(whole | {name: None})


def test_a_name_that_says_its_direction_needs_no_definition_in_a_file():
    document = {
        "save": [{"every": {"epochs": 1}}, {"improves": "val/acc"}],
        "keep": [{"last": 2}, {"best": {"n": 3, "by": "val_loss"}}],
        "stop": {"patience": {"by": "val_loss", "checks": 4}},
    }
    found = Config.from_mapping(document)
    assert found.policy == Policy(
        Every(epochs=1) | Improves("val/acc"), KeepLast(2) | KeepBest(3, by="val_loss"), stop=Patience("val_loss", 4)
    )
    assert Config.from_mapping(found.to_mapping()) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("reward", "write metrics: {reward: {monitor: reward, mode: min}}, or mode: max"),
        ("val_lss", "write metrics: {val_lss: {monitor: val_lss, mode: min}}, or mode: max"),
        ("no_acc", "write metrics: {no_acc: {monitor: no_acc, mode: min}}, or mode: max"),
    ],
)
def test_any_other_name_must_be_defined(name, hint):
    with pytest.raises(ConfigError, match=f"unknown metric '{name}'") as caught:
        Config.from_mapping({"save": {"improves": name}})
    assert hint in str(caught.value)


def test_a_name_that_resembles_a_defined_one_is_a_mistake():
    document = {"metrics": {"val_loss": {"monitor": "val_loss"}}, "save": {"improves": "vall_loss"}}
    with pytest.raises(ConfigError, match=r"unknown metric 'vall_loss'.*; did you mean 'val_loss'"):
        Config.from_mapping(document)
