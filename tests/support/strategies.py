"""Hypothesis strategies for policies and their parts, small enough that parts of one policy meet in the same metric."""

from __future__ import annotations

import operator
from functools import reduce

from hypothesis import strategies as st

from ckpt_callbacks import (
    EMA,
    AllOf,
    AnyOf,
    At,
    Contents,
    Diverges,
    Event,
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
    Predicate,
    Reaches,
    Retention,
    Stopping,
    Trigger,
)
from ckpt_callbacks.policy.contents import COMPRESSIONS, DTYPES, KINDS, PARAMETERS, SOURCES, WHOLE_NUMBERS

LOGGED = ("val_loss", "val/acc", "loss", "train_loss")


def even_step(event: Event) -> bool:
    """A predicate that YAML can name."""
    return event.step % 2 == 0


# -- values ----------------------------------------------------------------------------------------------------------


def names() -> st.SearchStrategy[str]:
    """Metric names: mostly the same few, sometimes any text at all."""
    return st.sampled_from(LOGGED) | st.text(min_size=1, max_size=8)


def counts() -> st.SearchStrategy[int]:
    """Whole numbers of at least 1, as epochs, steps and checks are counted."""
    return st.integers(1, 20) | st.integers(1, 10**12)


def finite() -> st.SearchStrategy[float]:
    """Finite numbers."""
    return st.integers(-5, 5).map(float) | st.floats(allow_nan=False, allow_infinity=False)


def positive() -> st.SearchStrategy[float]:
    """Finite numbers above 0, whole ones among them, as int and as float."""
    return st.integers(1, 60) | st.floats(0, exclude_min=True, allow_infinity=False)


def moments() -> st.SearchStrategy[float]:
    """UTC seconds: mostly of this century, in any fraction, sometimes beyond all calendars."""
    return st.integers(1, 4 * 10**9) | st.floats(1, 4e9) | positive()


# -- metrics ---------------------------------------------------------------------------------------------------------


def smoothings() -> st.SearchStrategy[EMA | Mean | Median]:
    """All smoothers."""
    alphas = st.floats(0, 1, exclude_min=True)
    return st.builds(EMA, alphas) | st.builds(Mean, st.integers(1, 9)) | st.builds(Median, st.integers(1, 9))


def metrics() -> st.SearchStrategy[Metric]:
    """Metrics with any mixture of settings."""
    monitor = names() | st.lists(names(), min_size=1, max_size=3) | st.dictionaries(names(), finite(), min_size=1)
    return st.builds(
        Metric,
        monitor,
        mode=st.sampled_from(("min", "max")),
        smoothing=st.none() | smoothings(),
        min_delta=st.just(0.0) | positive(),
        min_delta_mode=st.sampled_from(("abs", "rel")),
        baseline=st.none() | finite(),
        start_from_epoch=st.integers(0, 3),
        nan=st.sampled_from(("stale", "skip")),
        per=st.sampled_from(("epoch", "step")),
    )


@st.composite
def metric_pools(draw: st.DrawFn) -> st.SearchStrategy[Metric]:
    """A strategy for the metrics of one policy: a few, and each of them without its smoothing."""
    few = draw(st.lists(metrics(), min_size=1, max_size=3))
    return st.sampled_from(few + [metric.raw for metric in few])


# -- rules -----------------------------------------------------------------------------------------------------------


def triggers(by: st.SearchStrategy[Metric] | None = None) -> st.SearchStrategy[Trigger]:
    """Triggers, nested ones too, whose metrics are drawn from ``by``."""
    intervals = [st.builds(Every, **{unit: counts()}) for unit in ("epochs", "steps")]
    intervals += [st.builds(Every, **{unit: positive()}) for unit in ("seconds", "minutes", "hours")]
    marks = st.lists(counts(), min_size=1, max_size=3)
    leaves = st.one_of(
        *intervals,
        st.builds(Every, overhead=st.floats(0, 1, exclude_min=True, exclude_max=True)),
        st.builds(Optimal, positive()),
        st.builds(At, steps=marks),
        st.builds(At, epochs=marks),
        st.builds(Improves, metrics() if by is None else by),
        st.just(OnPreempt()),
        st.just(OnException()),
        st.builds(OnDeadline, positive(), end=st.none() | moments()),
        st.just(Predicate(even_step)),
    )
    return st.recursive(leaves, _compositions, max_leaves=6)


def _compositions(parts: st.SearchStrategy[Trigger]) -> st.SearchStrategy[Trigger]:
    several = st.lists(parts, min_size=1, max_size=3)
    return st.builds(AnyOf, several) | st.builds(AllOf, several) | st.builds(Not, parts)


def retentions(by: st.SearchStrategy[Metric] | None = None) -> st.SearchStrategy[Retention]:
    """One retention rule, or several joined with ``|``, whose metrics are drawn from ``by``."""
    rules = st.one_of(
        st.just(KeepAll()),
        st.builds(KeepLast, counts(), contents=st.none() | contents()),
        st.builds(KeepBest, counts(), metrics() if by is None else by, contents=st.none() | contents()),
        st.builds(KeepEvery, epochs=counts()),
        st.builds(KeepEvery, steps=counts()),
        st.builds(KeepEvery, hours=positive()),
        st.builds(KeepWithin, positive()),
        st.builds(KeepTagged, names()),
    )
    return _joined(rules)


def contents() -> st.SearchStrategy[Contents]:
    """What a rule needs of the checkpoints that it keeps."""
    weights = names().filter(lambda name: name == name.strip() and name.strip("*./"))
    dropping = st.fixed_dictionaries({"drop": st.lists(weights, min_size=1)}, optional={"reference": weights})
    others = {"weights": st.sampled_from(PARAMETERS), "compression": st.none() | st.sampled_from(COMPRESSIONS)}
    rounded = {"dtype": st.none() | st.sampled_from([one for one in DTYPES if one not in WHOLE_NUMBERS])}
    parts = (
        st.fixed_dictionaries({}, optional={"kind": st.sampled_from(KINDS), **rounded, **others})
        | st.fixed_dictionaries(
            {"kind": st.just("weights"), "source": st.sampled_from(SOURCES), "dtype": st.sampled_from(DTYPES)},
            optional=others,
        )
        | st.fixed_dictionaries(
            {"kind": st.just("weights"), "shards": st.fixed_dictionaries({"max_size": st.integers(1, 2**50)})},
            optional=rounded,
        )
    )
    return st.tuples(parts, st.just({}) | dropping).map(lambda both: Contents(**both[0], **both[1]))


def mirrors(keep: st.SearchStrategy[Retention | None]) -> st.SearchStrategy[list[Mirror]]:
    """Mirrors of one run, whose rules are drawn from ``keep``."""
    names_of_options = st.text(min_size=1, max_size=8)
    options = st.recursive(
        st.none() | st.booleans() | st.integers() | finite() | st.text(max_size=12),
        lambda part: st.lists(part, max_size=2) | st.dictionaries(names_of_options, part, max_size=2),
        max_leaves=4,
    )
    places = st.sampled_from(["s3://b/a", "gs://b", "hf://buckets/a/b", "rclone:box:a", "sftp://ada@h:22/a", "/a"])
    one = st.builds(
        Mirror,
        places,
        keep=st.none() | keep,
        contents=st.none() | contents(),
        every=st.just(0) | positive(),
        max_upload_rate=st.none() | counts(),
        storage_options=st.dictionaries(names_of_options, options, max_size=3),
    )
    return st.lists(one, max_size=3, unique_by=lambda mirror: mirror.place)


def stoppings(by: st.SearchStrategy[Metric] | None = None) -> st.SearchStrategy[Stopping]:
    """One stopping rule, or several joined with ``|``, whose metrics are drawn from ``by``."""
    by = metrics() if by is None else by
    rules = st.one_of(
        st.builds(Patience, by, checks=counts(), start_from_epoch=st.integers(0, 3)),
        st.builds(Reaches, by, finite()),
        st.builds(Diverges, by, finite()),
        st.builds(NonFinite, st.lists(names(), min_size=1, max_size=3), consecutive=st.integers(1, 3)),
    )
    return _joined(rules)


def _joined(rules: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(rules, min_size=1, max_size=4).map(lambda several: reduce(operator.or_, several))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Whole policies, in which the same metric stands in several places."""
    by = draw(metric_pools())
    return Policy(
        save=draw(triggers(by)),
        keep=draw(retentions(by)),
        stop=draw(st.none() | stoppings(by)),
        best_by=draw(st.none() | by),
    )
