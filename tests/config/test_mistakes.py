"""Reports of mistakes in a YAML file."""

import pickle
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks import (
    ConfigError,
)
from ckpt_callbacks.config import Config
from ckpt_callbacks.config.peer_arguments import IN_A_FILE
from tests.config.documents import EVERYTHING, parse, problems_of
from tests.config.mistakes import EVERY, FIELDS, METRIC, MISTAKES, MONITOR, OR_DURATION, TRIGGERS


@pytest.mark.parametrize("text, problem", MISTAKES)
def test_a_mistake_has_one_line(tmp_path, text, problem):
    assert problems_of(tmp_path, text) == [problem]


def test_the_error_of_another_process_has_the_same_lines():
    error = ConfigError(["first: is wrong", "second: is wrong"])
    found = pickle.loads(pickle.dumps(error))
    assert str(found) == str(error) and found.problems == error.problems


def test_all_mistakes_at_once(tmp_path):
    text = """
    version: 2
    metrics:
      val: {monitor: val_loss, mod: min}
      acc: {monitor: 3, mode: mx, min_delta: -1, start_from_epoch: -1}
    save: [{every: {epoch: 1}}, {every: {epochs: 1, steps: 2}}, {improves: val}, {improves: vall}, on_preempt]
    save: on_preempt
    keep: []
    stop: {patience: {by: acc, checks: 0, start_from_epoch: x}}
    filename: "{epoc}"
    metadata: {a: 1, a: 2}
    """
    assert problems_of(tmp_path, textwrap.dedent(text)) == [
        "line 7, column 1: duplicate key 'save'; expected each key once",
        "line 11, column 18: duplicate key 'a'; expected each key once",
        "version: got 2; expected 1",
        "metrics.val: unknown field 'mod'; expected one of monitor, mode, smoothing, min_delta, min_delta_mode, "
        "baseline, start_from_epoch, nan, per; did you mean 'mode'?",
        f"metrics.acc.monitor: got 3; expected {MONITOR}",
        "metrics.acc.mode: got 'mx'; expected min or max or auto; did you mean 'max'?",
        "metrics.acc.min_delta: got -1; expected a finite number of at least 0",
        "metrics.acc.start_from_epoch: got -1; expected a whole number of at least 0",
        f"save[0].every: unknown field 'epoch'; expected one of {EVERY}; did you mean 'epochs'?",
        f"save[1].every: got epochs=1, steps=2; expected exactly one of {EVERY}",
        "save[3].improves: unknown metric 'vall'; defined metrics: val, acc; did you mean 'val'?",
        "keep: got an empty list, which would delete every checkpoint; expected at least one item: "
        "a mapping with one of all, last, best, every, within, tagged",
        "stop.patience.checks: got 0; expected a whole number of at least 1",
        "stop.patience.start_from_epoch: got 'x'; expected a whole number of at least 0",
        "filename: '{epoc}': unknown name {epoc}; did you mean {epoch}?",
    ]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("metric: {a: {monitor: b}}\nsave: {improves: a}\nkeep: {best: {n: 1, by: a}}\nversion: 2", "metrics"),
        ("keep: {last: 1}\nsav: on_preempt\nversion: 2", "save"),
        ("monitr: val_loss\nversion: 2", "monitor"),
    ],
)
def test_a_misspelt_section_comes_first_and_what_follows_from_it_is_left_out(tmp_path, text, meant):
    first, *others = problems_of(tmp_path, text)
    assert first.startswith("unknown field ") and first.endswith(f"; did you mean {meant!r}?")
    assert others == ["version: got 2; expected 1"]


@pytest.mark.parametrize(
    ("text", "meant", "nested"),
    [
        ("monitor: val_loss\nsave: on_preempt\npatiense: 3", ["patience"], 0),
        ("monitor: val_loss\nkep: {last: 1}\ngrase: 3 s\nsave: {every: {epochz: 1}}", ["keep", "grace"], 1),
        ("moniter: val_loss\nsave: {improves: val}", ["monitor"], 1),
        ("monitor: val_loss\nsavee: on_preempt", ["save"], 0),
        ("monitor: val_loss\nkepe: all\nstop: {patiense: {by: val, checks: 3}}", ["keep"], 1),
    ],
)
def test_misspelt_names_come_before_the_clash_of_monitor_and_rules(tmp_path, text, meant, nested):
    *lines, last = problems_of(tmp_path, text)
    top, below = lines[: len(meant)], lines[len(meant) :]
    for line, name in zip(top, meant, strict=True):
        assert line.startswith("unknown field ") and line.endswith(f"; did you mean {name!r}?")
    assert len(below) == nested and all(": unknown " in line for line in below)
    assert last.startswith(f"got {text.partition(':')[0]} and ")  # as the file has it


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (
            "moniter: val_loss",
            "unknown metric 'vl'; defined metrics: none; to define it, write metrics: {vl: {monitor: val_loss}}",
        ),
        (
            "moniter: reward",
            "unknown metric 'vl'; defined metrics: none; to define it, write metrics: "
            "{vl: {monitor: reward, mode: min}}, or mode: max",
        ),
        ("moniter: val_loss\n" + METRIC, "unknown metric 'vl'; defined metrics: val; did you mean 'val'?"),
        (METRIC.replace("metrics", "metrcs"), "unknown metric 'vl'; defined metrics: val; did you mean 'val'?"),
    ],
)
def test_a_metric_that_is_not_defined_is_named_beside_a_misspelt_section(tmp_path, first, problem):
    misspelt, unknown, *_ = problems_of(tmp_path, f"{first}\nsave: on_preempt\nkeep: {{best: {{by: vl}}}}")
    assert misspelt.startswith("unknown field ") and "; did you mean 'm" in misspelt
    assert unknown == f"keep.best.by: {problem}"


@pytest.mark.parametrize(
    "text",
    [
        "monitor: val_loss\npatiense: 3",
        "monitr: val_loss\npatiense: 3",
        "patiense: 3",
        "mod: min",
        "save: on_preempt\nkep: all",
        "monitor: val_loss\nsavee: on_preempt",
        "monitor: val_loss\nsave: on_preempt\npatiense: 3",
        "metrics: {a: {monitr: val_loss}}\nsave: {improves: a}",
        "save: [{every: {epoch: 1}}]",
    ],
)
def test_a_suggested_name_is_one_of_those_that_are_listed(tmp_path, text):
    suggested = [line for line in problems_of(tmp_path, text) if "did you mean" in line]
    assert suggested
    for line in suggested:
        listed, name = line.split("expected one of ")[1].split("; did you mean ")
        assert name.strip("'?") in listed.split(", ")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "save: on_preempt\npatiense: 3",
            "'patiense'; did you mean 'patience'? patience goes with monitor, which stands for a whole policy; here, "
            "write stop: {patience: {by: ..., checks: ...}}",
        ),
        (
            "save: on_preempt\nmode: min",
            "'mode'; mode goes with monitor, which stands for a whole policy; here, write it beside a metric's name: "
            "metrics: {...: {monitor: ..., mode: min}}",
        ),
        ("save: on_preempt\nsave_top_k: 3", "'save_top_k'; instead, write keep: {best: {n: k, by: ...}}"),
        ("save: on_preempt\nsave_weights_only: true", "'save_weights_only'; instead, write contents: weights"),
    ],
)
def test_a_name_that_belongs_elsewhere_says_where(tmp_path, text, hint):
    assert problems_of(tmp_path, text) == [f"unknown field {hint}"]


@pytest.mark.parametrize("name", [*IN_A_FILE])
def test_what_a_file_is_told_to_say_instead_of_a_peers_argument_is_valid(name):
    text = IN_A_FILE[name]
    if "dirpath" in text or text == "filename" or text.startswith("nothing"):
        return
    text = text.replace(" and ", "\n").replace("n: k", "n: 1").replace("epochs: n", "epochs: 1")
    text = text.replace("steps: n", "steps: 1").replace("minutes: n", "minutes: 1").replace("checks: n", "checks: 1")
    text = text.replace("start_from_epoch: n", "start_from_epoch: 1")
    text = (
        text.replace("value: ...", "value: 1").replace("baseline: ...", "baseline: 1").replace("delta: ...", "delta: 1")
    )
    text = text.replace("{...: {monitor: ...", "{val: {monitor: val_loss").replace("monitor: ...", "monitor: loss")
    document = {"metrics": {"val": {"monitor": "val_loss"}}, "save": "on_preempt", **parse(text.replace("...", "val"))}
    assert Config.from_mapping(document)


def test_a_missing_field_is_not_reported_beside_its_misspelt_name(tmp_path):
    [line] = problems_of(tmp_path, "metrics: {a: {monitr: val_loss}}\nsave: {improves: a}")
    assert line.startswith("metrics.a: unknown field 'monitr'") and line.endswith("; did you mean 'monitor'?")


def test_an_argument_of_python_alone_is_named_as_such(tmp_path):
    [line] = problems_of(tmp_path, "monitor: val_loss\nrestore_best_weights: true")
    assert line == (
        "unknown field 'restore_best_weights'; it is an argument in Python: "
        "KerasCheckpoint.from_yaml(path, restore_best_weights=True)"
    )


def test_a_key_that_looks_like_an_index_is_not_an_index():
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"save": {False: [], "every": []}})
    assert caught.value.problems == (
        f"policy: save.every: got a list; {OR_DURATION} one of {EVERY}",
        f"policy: save: unknown field False; expected one of {TRIGGERS}",
    )


def test_a_missing_file_and_a_directory(tmp_path):
    for path, why in [(tmp_path / "no.yaml", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(ConfigError) as caught:
            Config.from_yaml(path)
        assert caught.value.problems == (f"{path}: cannot be read: {why}",)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("!!bool perhaps", "'perhaps' is not a valid bool"),
        ("9" * 5000, f"'{'9' * 40}...' is not a valid int"),
        ("0x" + "f" * 5000, f"'0x{'f' * 38}...' is not a valid int"),
        ("0o" + "7" * 9000, f"'0o{'7' * 38}...' is not a valid int"),
        ("!!float x", "'x' is not a valid float"),
        ("2026-13-45", "'2026-13-45' is not a valid timestamp"),
        ("!!int [1]", "expected a scalar node, but found sequence"),
        ("!!timestamp soon", 'failed to construct timestamp from "soon"'),
    ],
)
def test_a_value_that_its_type_cannot_hold_has_one_line_with_its_place(tmp_path, value, problem):
    path = tmp_path / "policy.yaml"
    path.write_text(f"metadata:\n  a: {value}\n")
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(path)
    assert caught.value.problems == (f"{path}: line 2, column 6: {problem}",)


@pytest.mark.parametrize("given", [None, [], 3, {"save": "on_premt", "stop": 1}])
def test_a_mapping_has_the_same_errors_after_its_source(given):
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(given, source="LightningCheckpoint: policy")
    assert len(caught.value.problems) == (2 if isinstance(given, dict) else 1)
    assert all(line.startswith("LightningCheckpoint: policy: ") for line in caught.value.problems)


def test_reading_a_mapping_leaves_it_as_it_was():
    given, before = parse(EVERYTHING), parse(EVERYTHING)
    Config.from_mapping(given)
    assert given == before


# Any document, mostly with words that the file knows, so that many are nearly right.
WORDS = st.sampled_from(
    f"{FIELDS}, {TRIGGERS}, epochs, steps, hours, last, best, tagged, patience, non_finite, by, checks, val".split(", ")
)
SCALARS = WORDS | st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text(max_size=3) | st.dates()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS | SCALARS, part, max_size=4),
    max_leaves=15,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(WORDS, DOCUMENTS) | DOCUMENTS)
def test_any_document_is_read_or_refused_in_whole_lines(document):
    try:
        Config.from_mapping(document)
    except ConfigError as error:
        assert error.problems
        for line in error.problems:
            assert line.startswith("policy: ") and len(line.splitlines()) == 1
            assert not any(jargon in line for jargon in ("pydantic", "http", "Input should", "value_error", "_Count"))
