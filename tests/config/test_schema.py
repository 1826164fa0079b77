"""The JSON schema of the YAML file."""

from typing import get_args, get_type_hints

import pytest
from hypothesis import given, settings

from ckpt_callbacks import (
    ConfigError,
)
from ckpt_callbacks.config import Config, json_schema
from ckpt_callbacks.config.rule_contents import AnyContents
from ckpt_callbacks.config.schema import DocumentNode, MetricNode, ShortNode
from ckpt_callbacks.policy import contents
from tests.config.documents import EVERYTHING, EXAMPLE, PREDICATE, WITH_NUMBERS, parse
from tests.config.mistakes import WITH_SAVE
from tests.support import strategies

WITH_RESUME, RESUMES = "save: on_preempt\nresume: {}", ("auto", "never", "runs/a/last.ckpt", "$CKPT", "{step: false}")


@pytest.fixture(scope="module")
def schema():
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(json_schema())
    return validator(json_schema())


@pytest.mark.parametrize(
    "text", [EXAMPLE, EVERYTHING, WITH_SAVE, PREDICATE, WITH_NUMBERS, *map(WITH_RESUME.format, RESUMES)]
)
def test_the_schema_accepts(schema, text):
    schema.validate(parse(text))


NULLS = ("dirpath", "mode", "patience", "stop", "best_by", "filename", "resume")


@pytest.mark.parametrize("name", [field for node in (DocumentNode, ShortNode) for field in get_type_hints(node)])
@pytest.mark.parametrize("whole", [{"save": "on_preempt"}, {"monitor": "val_loss"}])
def test_the_schema_and_the_reader_agree_on_a_null(schema, whole, name):
    document = whole | {name: None}
    assert schema.is_valid(document) is (name in NULLS)
    if name in NULLS:
        assert Config.from_mapping(document) == Config.from_mapping(whole)
    else:
        with pytest.raises(ConfigError):
            Config.from_mapping(document)


@pytest.mark.parametrize("name", get_type_hints(MetricNode))
def test_the_schema_and_the_reader_agree_on_a_null_in_a_metric(schema, name):
    document = {"save": "on_preempt", "metrics": {"val": {"monitor": "val_loss", name: None}}}
    assert schema.is_valid(document) is (name in ("mode", "smoothing", "baseline"))
    if not schema.is_valid(document):
        with pytest.raises(ConfigError):
            Config.from_mapping(document)


@settings(deadline=None, max_examples=25)
@given(strategies.policies())
def test_the_schema_accepts_what_is_written(schema, policy):
    schema.validate(parse(policy.to_yaml()))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "keep: {last: 1}",
        "save: []",
        "save: on_premt",
        "save: {on_preempt: {}}",
        "save: {every: {epochs: 1}, at: {steps: 1}}",
        "save: {every: {epochs: 1, steps: 2}}",
        "save: {every: {epochs: 0}}",
        "save: {every: {epochs: true}}",
        "save: {every: {minutes: 0}}",
        "save: {every: {overhead: 0}}",
        "save: {every: {overhead: 1}}",
        "save: {every: epoch}",
        "save: {every: 20}",
        "save: {optimal: {mtbf: 0}}",
        "save: {at: {steps: []}}",
        "save: {all: [on_preempt, {any: 5}]}",
        "save: {predicate: os}",
        "save: {improves: 3}",
        "save: on_deadline",
        "save: {on_deadline: {end: 5}}",
        "save: {on_deadline: {before: soon}}",
        "save: {on_deadline: {before: 5, end: true}}",
        WITH_SAVE + "grace: 5 M",
        WITH_SAVE + "grace: '5'",
        WITH_SAVE + "grace: 0",
        WITH_SAVE + "min_free: 5 gb",
        WITH_SAVE + "min_free: 0.5",
        WITH_SAVE + "min_free: -1",
        WITH_SAVE + "keep: []",
        WITH_SAVE + "keep: {every: {minutes: 1}}",
        WITH_SAVE + "keep: {best: {n: 1}}",
        WITH_SAVE + "stop: {patience: {by: val, checks: 0}}",
        WITH_SAVE + "version: 2",
        WITH_SAVE + "contents: all",
        WITH_SAVE + "contents: {dtype: float16}",
        WITH_SAVE + "contents: {drop: 3}",
        WITH_SAVE + "keep: {last: 1, contents: {kinds: full}}",
        WITH_SAVE + "resume: always",
        WITH_SAVE + "resume: {weights: false}",
        WITH_SAVE + "colour: red",
        WITH_SAVE + "dirpath: ''",
        WITH_SAVE + "filename: ' '",
        WITH_SAVE + "metrics: {a: {mode: min}}",
        WITH_SAVE + "metrics: {a: {monitor: 3, mode: min}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: least}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: min, smoothing: {ema: 2}}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: min, smoothing: {ema: 1, mean: 2}}}",
    ],
)
def test_the_schema_rejects_what_reading_rejects(schema, text):
    assert not schema.is_valid(parse(text))
    with pytest.raises(ConfigError):
        Config.from_mapping(parse(text))


def test_the_schema_knows_every_choice_of_contents():
    hints = get_type_hints(get_args(AnyContents)[0])
    known = {name: get_args(hint) for name, hint in hints.items() if str(hint).startswith("typing.Literal")}
    assert known == {
        "kind": contents.KINDS,
        "dtype": contents.DTYPES,
        "compression": contents.COMPRESSIONS,
        "source": contents.SOURCES,
        "weights": contents.PARAMETERS,
    }
