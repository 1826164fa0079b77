"""Policies and settings written as YAML, which read back the same."""

import functools
import textwrap

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import (
    EMA,
    Every,
    Improves,
    Metric,
    OnDeadline,
    OnPreempt,
    Policy,
)
from ckpt_callbacks.config import Config
from ckpt_callbacks.settings import Settings
from tests.config.documents import EVENING, EXAMPLE, parse, read
from tests.support import strategies
from tests.support.histories import usual


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


@usual
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


@usual
@given(
    st.builds(
        Settings,
        dirpath=st.none() | st.text().filter(str.strip),
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


def test_a_deadline_is_written_as_a_date_if_that_is_exact():
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


def test_a_moment_that_no_date_says_exactly_is_written_as_seconds():
    for end in (5e-324, 1e-9, 1e300):
        policy = Policy(OnDeadline("10 min", end))
        assert Config.from_mapping(Config(policy=policy).to_mapping()).policy == policy
