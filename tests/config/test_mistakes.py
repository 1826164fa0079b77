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
from tests.config.documents import EVERYTHING, parse, problems_of
from tests.config.mistakes import EVERY, FIELDS, MISTAKES, MONITOR, TRIGGERS


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
        "metrics.acc.mode: got 'mx'; expected min or max; did you mean 'max'?",
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
        f"policy: save.every: got a list; expected a mapping with one of {EVERY}",
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
