"""The YAML file: what it says, how it complains, and that what is written reads back the same."""

import functools
import textwrap
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ckpt_callbacks import (
    EMA,
    AllOf,
    AnyOf,
    At,
    ConfigError,
    Diverges,
    Every,
    Improves,
    KeepAll,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepTagged,
    KeepWithin,
    Mean,
    Median,
    Metric,
    NonFinite,
    Not,
    OnDeadline,
    OnException,
    OnPreempt,
    Optimal,
    Patience,
    Policy,
    PolicyError,
    Predicate,
    Reaches,
    Trigger,
)
from ckpt_callbacks.config import Config, json_schema
from ckpt_callbacks.settings import Settings
from tests.support import strategies

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
  - not: [{every: {hours: 0.5}}, {every: {seconds: 30}}]
  - on_preempt
  - on_exception
  - on_deadline: {before: 10 min}
  - all: [{every: {overhead: 0.01}}, {optimal: {mtbf: 6 h}}]
  - on_deadline: {before: 90, end: "2026-11-25T00:00:00+01:00"}
keep: [all, {every: {steps: 1000}}, {every: {hours: 5}}, {within: {hours: 2.5}}, {best: {by: score}}]
stop:
  - reaches: {by: val, value: 0.1}
  - diverges: {by: val.raw, value: 100}
  - non_finite: {monitor: loss, consecutive: 3}
best_by: score
on_error: raise
contents: weights
grace: 1.5 min
min_free: 2 GiB
"""


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


# -- what the file says ----------------------------------------------------------------------------------------------


def test_the_example_of_the_design(tmp_path):
    val = Metric("val_loss", mode="min", smoothing=EMA(0.3), min_delta=1e-3)
    policy = Policy(
        save=Every(epochs=1) | Every(minutes=20) | Improves(val) | OnPreempt(),
        keep=KeepLast(3) | KeepBest(2, by=val) | KeepEvery(epochs=10) | KeepTagged("release"),
        stop=Patience(val, checks=5, start_from_epoch=3) | NonFinite(["train_loss", "loss"], consecutive=1),
    )
    config = read(tmp_path, EXAMPLE)
    assert config == Config(
        policy,
        Settings(
            dirpath="runs/a",
            filename="{model}-{epoch:03d}-{val_loss:.3f}",
            contents="full",
            metadata={"dataset": "digits-v1"},
            on_error="warn",
        ),
    )
    assert repr(config.policy) == repr(policy)
    assert Policy.from_yaml(tmp_path / "ckpt.yaml") == policy


def test_every_form(tmp_path):
    val = Metric(["val_loss", "loss"], mode="min", smoothing=Mean(3), min_delta_mode="rel", min_delta=1e-4)
    score = Metric(
        {"acc": 1, "err": -0.5}, mode="max", smoothing=Median(5), baseline=0.5, start_from_epoch=2, nan="skip"
    )
    assert read(tmp_path, EVERYTHING) == Config(
        Policy(
            save=Every(steps=100) & ~At(epochs=[1, 2])
            | (At(steps=[7]) | Improves(val.raw))
            | ~(Every(hours=0.5) | Every(seconds=30))
            | OnPreempt()
            | OnException()
            | OnDeadline(600)
            | Every(overhead=0.01) & Optimal(6 * 3600)
            | OnDeadline(90, end=EVENING),
            keep=KeepAll() | KeepEvery(steps=1000) | KeepEvery(hours=5) | KeepWithin(2.5) | KeepBest(by=score),
            stop=Reaches(val, 0.1) | Diverges(val.raw, 100) | NonFinite("loss", consecutive=3),
            best_by=score,
        ),
        Settings(contents="weights", on_error="raise", grace=90, min_free=2 * 1024**3),
    )


@pytest.mark.parametrize(
    "end",
    [
        "1795561200",
        "1795561200.0",
        "2026-11-24T23:00:00Z",  # an unquoted date and time is no text in YAML
        "2026-11-24 23:00:00Z",
        "2026-11-24T23:00:00+00:00",
        "2026-11-25T00:00:00+01:00",
        "2026-11-24t17:30:00-05:30",
        "'2026-11-24T23:00:00Z'",
        "'2026-11-25T00:00:00+01:00'",
    ],
)
def test_the_end_of_a_job(tmp_path, end):
    text = f"save: {{on_deadline: {{before: 10 min, end: {end}}}}}"
    assert read(tmp_path, text).policy.save == OnDeadline(600, end=EVENING)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("grace", "30", 30),
        ("grace", "0.5", 0.5),
        ("grace", "45 s", 45),
        ("grace", "2min", 120),
        ("grace", "1.5 hours", 5400),
        ("min_free", "0", 0),
        ("min_free", "5000", 5000),
        ("min_free", "5 GB", 5 * 10**9),
        ("min_free", "500MB", 500 * 10**6),
        ("min_free", "2 GiB", 2 * 1024**3),
    ],
)
def test_a_setting_with_a_unit(tmp_path, field, value, expected):
    found = getattr(read(tmp_path, f"{WITH_SAVE}{field}: {value}").settings, field)
    assert found == expected
    assert type(found) is (int if field == "min_free" else float)


def test_only_save_is_needed():
    assert Config.from_mapping({"save": "on_preempt"}) == Config(Policy(save=OnPreempt()))


@pytest.mark.parametrize("part", ["on_preempt", ["on_preempt"], {"on_preempt": None}, [{"on_preempt": None}]])
def test_a_single_item_is_a_list_of_one(part):
    assert policy_of(save=part).save == OnPreempt()


@pytest.mark.parametrize(
    "save, trigger",
    [
        ({"any": "on_preempt"}, AnyOf((OnPreempt(),))),
        ({"all": ["on_preempt"]}, AllOf((OnPreempt(),))),
        ({"not": ["on_preempt", "on_exception"]}, Not(OnPreempt() | OnException())),
        ({"not": {"not": "on_preempt"}}, Not(Not(OnPreempt()))),
        ([{"any": ["on_preempt", "on_exception"]}, {"at": {"steps": 3}}], OnPreempt() | OnException() | At(steps=[3])),
    ],
)
def test_composition(save, trigger):
    assert policy_of(save=save).save == trigger


def test_a_name_that_is_defined_means_itself():
    val = {"monitor": "val_loss", "mode": "min", "smoothing": {"ema": 0.5}}
    other = {"monitor": "other", "mode": "min"}
    raw = policy_of(metrics={"val": val}, best_by="val.raw").best_by
    assert raw == Metric("val_loss", mode="min")
    assert policy_of(metrics={"val": val, "val.raw": other}, best_by="val.raw").best_by == Metric("other", mode="min")


def test_a_filename_may_name_what_is_monitored_however_it_is_spelt():
    metrics, stop = {"a": {"monitor": ["epcoh", "x"], "mode": "min"}}, {"non_finite": {"monitor": "setp"}}
    document = {"save": "on_preempt", "metrics": metrics, "stop": stop, "metadata": {"modle": 1}}
    template = "{epcoh}-{setp}-{modle}-{dataset}"
    assert Config.from_mapping({**document, "filename": template}).settings.filename == template
    for absent in ("metrics", "stop", "metadata"):
        with pytest.raises(ConfigError, match="did you mean"):
            Config.from_mapping({k: v for k, v in document.items() if k != absent} | {"filename": template})


def test_scalars_are_those_of_yaml_1_2(tmp_path):
    text = """
    metrics: {on: {monitor: yes, mode: min, min_delta: 1e-4, baseline: 1}}
    save: [{improves: on}, {every: {steps: 0x10}}]
    keep: {tagged: off}
    metadata: {country: no, octal: 010, real: yes, day: 2026-01-02}
    """
    config = read(tmp_path, textwrap.dedent(text))
    on = Metric("yes", mode="min", min_delta=1e-4, baseline=1)
    assert config.policy == Policy(save=Improves(on) | Every(steps=16), keep=KeepTagged("off"))
    assert config.settings.metadata == {"country": "no", "octal": 10, "real": "yes", "day": date(2026, 1, 2)}


def test_anchors_and_a_byte_order_mark(tmp_path):
    text = "\N{BOM}metrics: {a: &a {monitor: x, mode: min}, b: {<<: *a, mode: max}}\nsave: {improves: b}\n"
    assert read(tmp_path, text).policy.save == Improves(Metric("x", mode="max"))


# -- how it complains ------------------------------------------------------------------------------------------------

EVERY = "epochs, steps, seconds, minutes, hours, overhead"
TRIGGERS = "every, optimal, at, improves, on_preempt, on_exception, on_deadline, any, all, not, predicate"
METRIC = "metrics: {val: {monitor: val_loss, mode: min}}\n"
WITH_SAVE = "save: on_preempt\n"
FIELDS = (
    "version, dirpath, metrics, save, keep, stop, best_by, contents, metadata, filename, on_error, grace, min_free, "
    "background, max_pending, when_busy, staging"
)
SECONDS = "a duration above 0: seconds, or text such as 30 s, 10 min, 1.5 h or 2 d"
BYTES = "a size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB"
MOMENT = "a moment: UTC seconds since 1970, or a date and time with its offset, such as 2026-11-24T23:00:00Z"
MONITOR = "a metric's name, a list of names, or a mapping of names to weights"


@pytest.mark.parametrize(
    "text, problem",
    [
        # the file
        ("", "is empty; expected a mapping with at least save"),
        ("# nothing\n", "is empty; expected a mapping with at least save"),
        ("[1]", f"got a list; expected a mapping with {FIELDS}"),
        ("just text", f"got 'just text'; expected a mapping with {FIELDS}"),
        ("save: [", "line 1, column 8: while parsing a flow node, expected the node content, but found '<stream end>'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        (
            "save: *nope",
            "line 1, column 7: found undefined alias 'nope'",
        ),
        (
            "save: !!python/object/apply:os.abort []",
            "line 1, column 7: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.abort'",
        ),
        (
            "---\nsave: on_preempt\n---\nsave: on_preempt\n",
            "line 3, column 1: expected a single document in the stream, but found another document",
        ),
        (b"save: \xff", "byte 6 is not UTF-8; expected a text file"),
        ("save: " + "[" * 5000, "is nested too deeply"),
        # top level
        ("keep: {last: 1}", f"save: missing; expected a mapping with one of {TRIGGERS}"),
        (WITH_SAVE + "1: 2", f"unknown field 1; expected one of {FIELDS}"),
        (WITH_SAVE + "contnets: full", f"unknown field 'contnets'; expected one of {FIELDS}; did you mean 'contents'?"),
        (WITH_SAVE + "version: 2", "version: got 2; expected 1"),
        (WITH_SAVE + "version: true", "version: got True; expected 1"),
        (WITH_SAVE + "version: '1'", "version: got '1'; expected 1"),
        (WITH_SAVE + "contents: wieghts", "contents: got 'wieghts'; expected full or weights; did you mean 'weights'?"),
        (WITH_SAVE + "contents: []", "contents: got a list; expected full or weights"),
        (WITH_SAVE + "on_error:", "on_error: got nothing; expected warn or raise"),
        (WITH_SAVE + "dirpath: 3", "dirpath: got 3; expected text"),
        (WITH_SAVE + "metadata: x", "metadata: got 'x'; expected a mapping"),
        (WITH_SAVE + "metadata: {1: 2}", "metadata: got 1 as a name; expected text"),
        (WITH_SAVE + "filename: '{epcoh}'", "filename: '{epcoh}': unknown name {epcoh}; did you mean {epoch}?"),
        *((WITH_SAVE + f"grace: {x}", f"grace: got {x}; expected {SECONDS}") for x in ("0", "-1", "'5'", "'5 m'")),
        (WITH_SAVE + "grace: .inf", f"grace: got inf; expected {SECONDS}"),
        (WITH_SAVE + "grace: true", f"grace: got True; expected {SECONDS}"),
        (WITH_SAVE + "grace:", f"grace: got nothing; expected {SECONDS}"),
        (WITH_SAVE + "grace: [30 s]", f"grace: got a list; expected {SECONDS}"),
        (WITH_SAVE + "min_free: -1", f"min_free: got -1; expected {BYTES}"),
        (WITH_SAVE + "min_free: 5.0", f"min_free: got 5.0; expected {BYTES}"),
        (WITH_SAVE + "min_free: 5 gb", f"min_free: got '5 gb'; expected {BYTES}"),
        (WITH_SAVE + "min_free: {GB: 5}", f"min_free: got a mapping; expected {BYTES}"),
        (
            WITH_SAVE + "filename: a/b",
            "filename: 'a/b': a file name has no path separator; put folders in dirpath",
        ),
        # metrics
        (WITH_SAVE + "metrics: [val]", "metrics: got a list; expected a mapping"),
        (WITH_SAVE + "metrics: {1: {monitor: a, mode: min}}", "metrics: got 1 as a name; expected text"),
        (
            WITH_SAVE + "metrics: {val: {monitor: val_loss}}",
            "metrics.val.mode: missing; expected min or max (the direction is never guessed from a name)",
        ),
        (
            WITH_SAVE + "metrics: {val: {monitor: val_loss, mode: auto}}",
            "metrics.val.mode: got 'auto'; expected min or max (the direction is never guessed from a name)",
        ),
        (WITH_SAVE + "metrics: {val: {mode: min}}", f"metrics.val.monitor: missing; expected {MONITOR}"),
        (WITH_SAVE + "metrics: {val: {monitor: 3, mode: min}}", f"metrics.val.monitor: got 3; expected {MONITOR}"),
        (
            WITH_SAVE + "metrics: {val: {monitor: [a, 3], mode: min}}",
            f"metrics.val.monitor: got a list; expected {MONITOR}",
        ),
        (
            WITH_SAVE + "metrics: {val: {monitor: {a: true}, mode: min}}",
            f"metrics.val.monitor: got a mapping; expected {MONITOR}",
        ),
        (
            METRIC.replace("}}", ", min_delta: true}}") + WITH_SAVE,
            "metrics.val.min_delta: got True; expected a finite number of at least 0",
        ),
        (
            METRIC.replace("}}", ", min_delta: -1}}") + WITH_SAVE,
            "metrics.val.min_delta: got -1; expected a finite number of at least 0",
        ),
        (
            METRIC.replace("}}", ", baseline: .nan}}") + WITH_SAVE,
            "metrics.val.baseline: got nan; expected a finite number",
        ),
        (
            METRIC.replace("}}", ", start_from_epoch: -1}}") + WITH_SAVE,
            "metrics.val.start_from_epoch: got -1; expected a whole number of at least 0",
        ),
        (
            METRIC.replace("}}", ", nan: skp}}") + WITH_SAVE,
            "metrics.val.nan: got 'skp'; expected stale or skip; did you mean 'skip'?",
        ),
        (
            METRIC.replace("}}", ", smoothing: {ema: 2}}}") + WITH_SAVE,
            "metrics.val.smoothing.ema: got 2; expected a number above 0 and at most 1",
        ),
        (
            METRIC.replace("}}", ", smoothing: ema}}") + WITH_SAVE,
            "metrics.val.smoothing.ema: got nothing; expected a number above 0 and at most 1",
        ),
        (
            METRIC.replace("}}", ", smoothing: {mean: 2, median: 3}}}") + WITH_SAVE,
            "metrics.val.smoothing: got mean, median; expected exactly one of ema, mean, median",
        ),
        (
            'metrics: {"a\\nb": {monitor: 1, mode: min}}\n' + WITH_SAVE,
            f"metrics.'a\\nb'.monitor: got 1; expected {MONITOR}",
        ),
        # save
        ("save:", f"save: got nothing; expected a mapping with one of {TRIGGERS}"),
        ("save: []", f"save: got an empty list; expected at least one item: a mapping with one of {TRIGGERS}"),
        ("save: {}", f"save: got no field; expected exactly one of {TRIGGERS}"),
        ("save: 5", f"save: got 5; expected a mapping with one of {TRIGGERS}"),
        ("save: [[on_preempt]]", f"save[0]: got a list; expected a mapping with one of {TRIGGERS}"),
        (
            "save: &a {not: *a}",
            f"save.not: got an alias of what it stands in; expected a mapping with one of {TRIGGERS}",
        ),
        (
            "save: [on_exception, on_premt]",
            f"save[1]: unknown field 'on_premt'; expected one of {TRIGGERS}; did you mean 'on_preempt'?",
        ),
        ("save: {on_preempt: {}}", "save.on_preempt: got a mapping; expected no value"),
        ("save: [{every: {epochs: 1}, at: {steps: 1}}]", f"save[0]: got every, at; expected exactly one of {TRIGGERS}"),
        (
            "save: [{every: {epoch: 1}}]",
            f"save[0].every: unknown field 'epoch'; expected one of {EVERY}; did you mean 'epochs'?",
        ),
        (
            "save: {every: {epochs: 1, steps: 2}}",
            f"save.every: got epochs=1, steps=2; expected exactly one of {EVERY}",
        ),
        ("save: {every: {}}", f"save.every: got none; expected exactly one of {EVERY}"),
        ("save: {every: {epochs: 0}}", "save.every.epochs: got 0; expected a whole number of at least 1"),
        ("save: {every: {epochs: 1.0}}", "save.every.epochs: got 1.0; expected a whole number of at least 1"),
        ("save: {every: {epochs: true}}", "save.every.epochs: got True; expected a whole number of at least 1"),
        ("save: {every: {minutes: .inf}}", "save.every.minutes: got inf; expected a positive number"),
        ("save: {every: {minutes: '5'}}", "save.every.minutes: got '5'; expected a positive number"),
        (
            "save: {every: {overhead: 1}}",
            "save.every.overhead: got 1; expected a share above 0 and below 1, such as 0.01",
        ),
        ("save: optimal", "save.optimal: got nothing; expected a mapping with mtbf"),
        ("save: {optimal: {}}", f"save.optimal.mtbf: missing; expected {SECONDS}"),
        ("save: {optimal: {mtbf: 6 hrs}}", f"save.optimal.mtbf: got '6 hrs'; expected {SECONDS}"),
        ("save: {at: {steps: [1, x]}}", "save.at.steps[1]: got 'x'; expected a whole number of at least 1"),
        ("save: {at: {steps: x}}", "save.at.steps: got 'x'; expected a whole number of at least 1"),
        (
            "save: {at: {steps: 1, epochs: 1}}",
            "save.at: expected a list of steps or a list of epochs, such as At(steps=[100, 1000])",
        ),
        ("save: on_deadline", "save.on_deadline: got nothing; expected a mapping with before, end"),
        ("save: {on_deadline: 600}", "save.on_deadline: got 600; expected a mapping with before, end"),
        ("save: {on_deadline: {}}", f"save.on_deadline.before: missing; expected {SECONDS}"),
        ("save: {on_deadline: {before: 0}}", f"save.on_deadline.before: got 0; expected {SECONDS}"),
        ("save: {on_deadline: {before: soon}}", f"save.on_deadline.before: got 'soon'; expected {SECONDS}"),
        (
            "save: {on_deadline: {before: 5, ende: 5}}",
            "save.on_deadline: unknown field 'ende'; expected one of before, end; did you mean 'end'?",
        ),
        ("save: {on_deadline: {before: 5, end: 0}}", f"save.on_deadline.end: got 0; expected {MOMENT}"),
        ("save: {on_deadline: {before: 5, end: true}}", f"save.on_deadline.end: got True; expected {MOMENT}"),
        ("save: {on_deadline: {before: 5, end: tonight}}", f"save.on_deadline.end: got 'tonight'; expected {MOMENT}"),
        (
            "save: {on_deadline: {before: 5, end: 2026-11-24T23:00:00}}",
            f"save.on_deadline.end: got 2026-11-24 23:00:00; expected {MOMENT}",
        ),
        (
            "save: {on_deadline: {before: 5, end: '2026-11-24T23:00:00'}}",
            f"save.on_deadline.end: got '2026-11-24T23:00:00'; expected {MOMENT}",
        ),
        (
            "save: [{on_deadline: {before: 5, end: 2026-11-24}}]",
            f"save[0].on_deadline.end: got 2026-11-24; expected {MOMENT}",
        ),
        ("save: {improves: val}", "save.improves: unknown metric 'val'; defined are: none"),
        (
            METRIC + "save: {improves: vall}",
            "save.improves: unknown metric 'vall'; defined are: val; did you mean 'val'?",
        ),
        (METRIC + "save: {improves: x.raw}", "save.improves: unknown metric 'x.raw'; defined are: val"),
        (METRIC + "save: {improves: 5}", "save.improves: got 5; expected the name of a metric"),
        (
            METRIC + "save: {all: [on_preempt, {any: [on_preempt, {not: {improves: x}}]}]}",
            "save.all[1].any[1].not.improves: unknown metric 'x'; defined are: val",
        ),
        ("save: {predicate: os}", "save.predicate: got 'os'; expected a function, such as pkg.mod:fn"),
        (
            "save: {predicate: 'os:stat'}",
            "save.predicate: got 'os:stat', which is code; pass allow_code=True to import it",
        ),
        # keep
        (
            WITH_SAVE + "keep: []",
            "keep: got an empty list, which would delete every checkpoint; expected at least one item: "
            "a mapping with one of all, last, best, every, within, tagged",
        ),
        (
            WITH_SAVE + "keep:",
            "keep: got nothing; expected a mapping with one of all, last, best, every, within, tagged",
        ),
        (WITH_SAVE + "keep: {last: 0}", "keep.last: got 0; expected a whole number of at least 1"),
        (WITH_SAVE + "keep: {best: {n: 2}}", "keep.best.by: missing; expected the name of a metric"),
        (WITH_SAVE + "keep: {best: 2}", "keep.best: got 2; expected a mapping with n, by"),
        (
            WITH_SAVE + "keep: {every: {minutes: 5}}",
            "keep.every: unknown field 'minutes'; expected one of epochs, steps, hours",
        ),
        (WITH_SAVE + "keep: {within: {hours: 0}}", "keep.within.hours: got 0; expected a positive number"),
        (WITH_SAVE + "keep: {tagged: ''}", "keep.tagged: got ''; expected a tag, such as release"),
        # stop
        (
            WITH_SAVE + "stop: []",
            "stop: got an empty list; expected at least one item: "
            "a mapping with one of patience, reaches, diverges, non_finite",
        ),
        (
            METRIC + WITH_SAVE + "stop: [{patience: {by: val, checks: five}}]",
            "stop[0].patience.checks: got 'five'; expected a whole number of at least 1",
        ),
        (
            METRIC + WITH_SAVE + "stop: {patience: {by: val, checks: 0}}",
            "stop.patience.checks: got 0; expected a whole number of at least 1",
        ),
        (METRIC + WITH_SAVE + "stop: {reaches: {by: val}}", "stop.reaches.value: missing; expected a finite number"),
        (
            METRIC + WITH_SAVE + "stop: {diverges: {by: val, value: .inf}}",
            "stop.diverges.value: got inf; expected a finite number",
        ),
        (
            WITH_SAVE + "stop: {non_finite: {monitor: []}}",
            "stop.non_finite.monitor: got an empty list; expected at least one item: the name of a metric",
        ),
        (
            WITH_SAVE + "stop: {non_finite: {monitor: [a, 3]}}",
            "stop.non_finite.monitor[1]: got 3; expected the name of a metric",
        ),
        (METRIC + WITH_SAVE + "best_by: [val]", "best_by: got a list; expected the name of a metric"),
    ],
)
def test_a_mistake_has_one_line(tmp_path, text, problem):
    assert problems_of(tmp_path, text) == [problem]


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
        "metrics.val.mode: missing; expected min or max (the direction is never guessed from a name)",
        "metrics.val: unknown field 'mod'; expected one of monitor, mode, smoothing, min_delta, min_delta_mode, "
        "baseline, start_from_epoch, nan; did you mean 'mode'?",
        f"metrics.acc.monitor: got 3; expected {MONITOR}",
        "metrics.acc.mode: got 'mx'; expected min or max (the direction is never guessed from a name); "
        "did you mean 'max'?",
        "metrics.acc.min_delta: got -1; expected a finite number of at least 0",
        "metrics.acc.start_from_epoch: got -1; expected a whole number of at least 0",
        f"save[0].every: unknown field 'epoch'; expected one of {EVERY}; did you mean 'epochs'?",
        f"save[1].every: got epochs=1, steps=2; expected exactly one of {EVERY}",
        "save[3].improves: unknown metric 'vall'; defined are: val, acc; did you mean 'val'?",
        "keep: got an empty list, which would delete every checkpoint; expected at least one item: "
        "a mapping with one of all, last, best, every, within, tagged",
        "stop.patience.checks: got 0; expected a whole number of at least 1",
        "stop.patience.start_from_epoch: got 'x'; expected a whole number of at least 0",
        "filename: '{epoc}': unknown name {epoc}; did you mean {epoch}?",
    ]


def test_a_key_that_looks_like_a_place_in_a_list_is_none():
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


@pytest.mark.parametrize("given", [None, [], 3, {"save": "on_premt", "stop": 1}])
def test_a_mapping_has_the_same_errors_behind_its_source(given):
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(given, source="LightningCheckpoint: policy")
    assert len(caught.value.problems) == (2 if isinstance(given, dict) else 1)
    assert all(line.startswith("LightningCheckpoint: policy: ") for line in caught.value.problems)


def test_reading_a_mapping_leaves_it_as_it_was():
    given, before = parse(EVERYTHING), parse(EVERYTHING)
    Config.from_mapping(given)
    assert given == before


# Any document: mostly with the words of the file, so that many are nearly right.
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


# -- code ------------------------------------------------------------------------------------------------------------

WITH_NUMBERS = "save: {on_deadline: {before: 600, end: 1795561200}}\ngrace: 30\nmin_free: 5000"
PREDICATE = "save: {predicate: 'tests.support.strategies:even_step'}"


def test_code_is_imported_only_when_allowed(tmp_path):
    assert problems_of(tmp_path, PREDICATE) == [
        "save.predicate: got 'tests.support.strategies:even_step', which is code; pass allow_code=True to import it"
    ]
    policy = Policy(Predicate(strategies.even_step))
    assert read(tmp_path, PREDICATE, allow_code=True).policy == policy
    assert Policy.from_yaml(tmp_path / "ckpt.yaml", allow_code=True) == policy


def test_nothing_runs_unless_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemError('the\\ntrap')")
    monkeypatch.syspath_prepend(tmp_path)
    text = "save: {predicate: 'trap:fn'}"
    assert "trap" not in problems_of(tmp_path, text)[0].replace("'trap:fn'", "")
    assert problems_of(tmp_path, text, allow_code=True) == [
        "save.predicate: 'trap:fn' cannot be imported: SystemError: the trap; expected a function, such as pkg.mod:fn"
    ]


@pytest.mark.parametrize(
    "reference, problem",
    [
        (
            "no_such_module:fn",
            "'no_such_module:fn' cannot be imported: ModuleNotFoundError: No module named 'no_such_module'; "
            "expected a function, such as pkg.mod:fn",
        ),
        (
            "os:no_such",
            "'os:no_such' cannot be imported: AttributeError: module 'os' has no attribute 'no_such'; "
            "expected a function, such as pkg.mod:fn",
        ),
        ("os:sep", "got '/'; expected a function of one Event"),
    ],
)
def test_code_that_is_not_there(tmp_path, reference, problem):
    text = f"save: {{predicate: '{reference}'}}"
    assert problems_of(tmp_path, text, allow_code=True) == [f"save.predicate: {problem}"]


def _inner():
    def function(event):
        return True

    return function


@pytest.mark.parametrize("function", [lambda event: True, _inner(), functools.partial(strategies.even_step)])
def test_code_without_an_address_cannot_be_written(function):
    with pytest.raises(
        PolicyError, match=r"cannot be written as pkg\.mod:fn; expected a function at the top of a module"
    ):
        Policy(Predicate(function)).to_yaml()


def test_code_of_the_running_script_cannot_be_written(monkeypatch):
    import __main__

    monkeypatch.setattr(__main__, "rule", strategies.even_step, raising=False)
    monkeypatch.setattr(strategies.even_step, "__module__", "__main__")
    monkeypatch.setattr(strategies.even_step, "__qualname__", "rule")
    with pytest.raises(PolicyError, match=r"'rule' cannot be written as pkg\.mod:fn"):
        Policy(Predicate(strategies.even_step)).to_yaml()


def test_what_has_no_form_in_yaml_cannot_be_written():
    class Mine(Trigger):
        pass

    with pytest.raises(PolicyError, match=r"Mine\(\) cannot be written as YAML"):
        Policy(Mine() | OnPreempt()).to_yaml()
    with pytest.raises(PolicyError, match="name is 'mine', for which YAML has no place"):
        Policy(Predicate(strategies.even_step, name="mine")).to_yaml()
    with pytest.raises(PolicyError, match="cannot be written as YAML"):
        Config(Policy(OnPreempt()), Settings(metadata={"x": object()})).to_yaml()


# -- writing ---------------------------------------------------------------------------------------------------------


def test_the_canonical_text(tmp_path):
    assert read(tmp_path, EXAMPLE).to_yaml() == textwrap.dedent("""\
        version: 1
        dirpath: runs/a
        filename: "{model}-{epoch:03d}-{val_loss:.3f}"
        metrics:
          val_loss:
            monitor: val_loss
            mode: min
            smoothing: {ema: 0.3}
            min_delta: 0.001
        save:
        - every: {epochs: 1}
        - every: {minutes: 20}
        - {improves: val_loss}
        - on_preempt
        keep:
        - {last: 3}
        - best: {n: 2, by: val_loss}
        - every: {epochs: 10}
        - {tagged: release}
        stop:
        - patience: {by: val_loss, checks: 5, start_from_epoch: 3}
        - non_finite:
            monitor: [train_loss, loss]
        metadata: {dataset: digits-v1}
        """)


def names_of(*metrics):
    text = Policy(functools.reduce(lambda a, b: a | b, map(Improves, metrics))).to_yaml()
    return [item["improves"] for item in parse(text)["save"]]


def test_metrics_are_named_after_what_they_monitor():
    a, b, c = (Metric("val/loss", mode="min", min_delta=delta) for delta in (0, 1, 2))
    several, sum_ = Metric(["loss", "train_loss"], mode="min"), Metric({"x": 1, "y": 2}, mode="min")
    odd, like_b = Metric("%", mode="max"), Metric("val_loss_2", mode="min")
    assert names_of(a, b, a, c) == ["val_loss", "val_loss_2", "val_loss", "val_loss_3"]
    assert names_of(several, sum_, odd) == ["loss", "x_y", "metric"]
    assert names_of(like_b, a, b) == ["val_loss_2", "val_loss", "val_loss_3"]


def test_a_metric_without_its_smoothing_is_named_after_the_one_with():
    smooth, smoother = (Metric("loss", mode="min", smoothing=EMA(alpha)) for alpha in (0.5, 0.1))
    assert names_of(smooth.raw, smooth, smoother) == ["loss.raw", "loss", "loss_2"]
    assert names_of(smooth.raw) == ["loss"]


@settings(deadline=None, max_examples=150)
@given(strategies.policies())
def test_what_is_written_reads_back(tmp_path_factory, policy):
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    text = policy.to_yaml()
    path.write_text(text, encoding="utf-8")
    again = Policy.from_yaml(path, allow_code=True)
    assert again == policy
    assert again.to_yaml() == text


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(
    st.builds(
        Settings,
        dirpath=st.none() | st.text(),
        filename=st.none() | st.sampled_from(["{epoch:03d}", "{val/loss:.3f} é", "{seed}"]),
        contents=st.sampled_from(["full", "weights"]),
        metadata=st.dictionaries(st.text(max_size=8), PLAIN, max_size=3),
        on_error=st.sampled_from(["warn", "raise"]),
        grace=st.floats(min_value=0.5, max_value=1e6),
        min_free=st.integers(min_value=0, max_value=2**50),
    )
)
def test_settings_read_back(tmp_path_factory, given):
    config = Config(Policy(OnPreempt()), given)
    path = tmp_path_factory.getbasetemp() / "settings.yaml"
    text = config.to_yaml()
    path.write_text(text, encoding="utf-8")
    again = Config.from_yaml(path)
    assert again == config
    assert again.to_yaml() == text


def test_a_deadline_is_written_as_a_date_where_that_is_exact():
    def written(end):
        return parse(Policy(OnDeadline("10 min", end)).to_yaml())["save"][0]["on_deadline"]

    assert parse(Policy(OnDeadline(0.5)).to_yaml())["save"] == [{"on_deadline": {"before": 0.5}}]
    assert written(EVENING) == {"before": 600, "end": "2026-11-24T23:00:00Z"}
    assert written(EVENING + 0.25)["end"] == "2026-11-24T23:00:00.250000Z"
    assert written(0.1 + 2**-40)["end"] == 0.1 + 2**-40
    assert written(1e15)["end"] == 10**15


def test_settings_are_numbers_however_they_were_given():
    given, plain = (
        Config(Policy(OnPreempt()), Settings(grace=grace, min_free=size))
        for grace, size in (("1.5 min", "5 GB"), (90, 5 * 10**9))
    )
    assert given == plain
    assert given.to_yaml() == plain.to_yaml()
    assert {"grace: 90", "min_free: 5000000000"} < set(given.to_yaml().splitlines())


def test_whole_numbers_are_written_alike():
    assert Policy(Every(minutes=20)).to_yaml() == Policy(Every(minutes=20.0)).to_yaml()
    assert "minutes: 1e+300}" in Policy(Every(minutes=1e300)).to_yaml()


# -- the schema ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema():
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(json_schema())
    return validator(json_schema())


@pytest.mark.parametrize("text", [EXAMPLE, EVERYTHING, WITH_SAVE, PREDICATE, WITH_NUMBERS])
def test_the_schema_accepts(schema, text):
    schema.validate(parse(text))


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
        "save: {optimal: {mtbf: 0}}",
        "save: {at: {steps: []}}",
        "save: {all: [on_preempt, {any: 5}]}",
        "save: {predicate: os}",
        "save: {improves: 3}",
        "save: on_deadline",
        "save: {on_deadline: {end: 5}}",
        "save: {on_deadline: {before: soon}}",
        "save: {on_deadline: {before: 5, end: true}}",
        WITH_SAVE + "grace: 5 m",
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
        WITH_SAVE + "colour: red",
        WITH_SAVE + "metrics: {a: {monitor: x}}",
        WITH_SAVE + "metrics: {a: {monitor: 3, mode: min}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: auto}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: min, smoothing: {ema: 2}}}",
        WITH_SAVE + "metrics: {a: {monitor: x, mode: min, smoothing: {ema: 1, mean: 2}}}",
    ],
)
def test_the_schema_rejects_what_reading_rejects(schema, text):
    assert not schema.is_valid(parse(text))
    with pytest.raises(ConfigError):
        Config.from_mapping(parse(text))


def test_a_moment_that_no_date_says_exactly_is_written_as_seconds():
    for end in (5e-324, 1e-9, 1e300):
        policy = Policy(OnDeadline("10 min", end))
        assert Config.from_mapping(Config(policy=policy).to_mapping()).policy == policy
