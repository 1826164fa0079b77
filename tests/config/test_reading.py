"""The meaning of a YAML file."""

import textwrap
from datetime import date

import pytest

from ckpt_callbacks import (
    EMA,
    AllOf,
    AnyOf,
    At,
    ConfigError,
    Contents,
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
    Mirror,
    NonFinite,
    Not,
    OnDeadline,
    OnException,
    OnPreempt,
    Optimal,
    Patience,
    Policy,
    Reaches,
)
from ckpt_callbacks.config import Config
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.settings import Settings
from tests.config.documents import EVENING, EVERYTHING, EXAMPLE, policy_of, read
from tests.config.mistakes import WITH_SAVE


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
            | ~(Every(hours=0.5) | Every(seconds=30) | Every(minutes=20))
            | OnPreempt()
            | OnException()
            | OnDeadline(600)
            | Every(overhead=0.01) & Optimal(6 * 3600)
            | OnDeadline(90, end=EVENING),
            keep=KeepAll()
            | (KeepEvery(steps=1000) | KeepEvery(hours=5) | KeepEvery(hours=48))
            | (KeepWithin(2.5) | KeepWithin(1.5) | KeepBest(by=score, contents="weights")),
            stop=Reaches(val, 0.1) | Diverges(val.raw, 100) | NonFinite("loss", consecutive=3),
            best_by=score,
        ),
        Settings(
            contents="weights",
            on_error="raise",
            grace=90,
            min_free=2 * 1024**3,
            max_total_size=50 * 10**9,
            resume={"optimizer": False, "step": True},
            mirrors=(
                Mirror("s3://bucket/run"),
                Mirror(
                    "/nfs/run",
                    KeepBest(2, by=score) | KeepLast(1, contents="weights"),
                    Contents("weights", "bf16"),
                    600,
                    10**7,
                    {"auto_mkdir": True},
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("written", "contents"),
    [
        ("{kind: weights, dtype: bf16}", Contents("weights", "bf16")),
        ("{drop: backbone, reference: hub/vit, dtype: null}", Contents(drop="backbone", reference="hub/vit")),
        ("{kind: weights, drop: [a, '*.b']}", Contents("weights", drop=("a", "*.b"))),
        ("{kind: weights, weights: trainable}", Contents("weights", weights="trainable")),
        ("{kind: weights, shards: {max_size: 5 GB}}", Contents("weights", shards={"max_size": 5 * 10**9})),
        ("{}", Contents()),
    ],
)
def test_contents_of_a_rule_and_of_a_whole_policy(tmp_path, written, contents):
    rule = read(tmp_path, f"{WITH_SAVE}keep: {{last: 1, contents: {written}}}")
    assert rule.policy.keep == KeepLast(1, contents=contents)
    assert Config.from_mapping(rule.to_mapping()) == rule
    whole = read(tmp_path, f"{WITH_SAVE}keep: [{{last: 1}}, {{all: null, contents: full}}]\ncontents: {written}")
    assert whole.settings.contents == contents.kind
    asked = None if contents == Contents() else contents
    assert whole.policy.keep == KeepLast(1, contents=asked) | KeepAll(contents="full")
    assert Config.from_mapping(whole.to_mapping()) == whole
    given = build_config("LightningCheckpoint", "runs/a", Policy(OnPreempt(), KeepLast(1)), contents=contents)
    assert (given.settings.contents, given.policy.keep) == (contents.kind, KeepLast(1, contents=asked))


@pytest.mark.parametrize("resume", ["auto", "never", "runs/a/last.ckpt", "~/a.keras"])
def test_from_where_a_run_resumes_is_a_word_or_a_path(tmp_path, resume):
    config = read(tmp_path, f"{WITH_SAVE}resume: {resume}")
    assert config.settings.resume == resume and Config.from_mapping(config.to_mapping()) == config


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
