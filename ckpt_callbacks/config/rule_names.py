"""The rules that YAML knows: the name, class and fields of each trigger, retention rule and stopping rule.

`schema` makes its types from these tables and `writer` walks them, so adding a rule means adding a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import NotRequired

from ..policy.composition import AllOf, AnyOf, Not
from ..policy.pace import Optimal
from ..policy.retention import KeepAll, KeepBest, KeepEvery, KeepLast, KeepTagged, KeepWithin
from ..policy.smoothing import EMA, Mean, Median
from ..policy.stopping import Diverges, NonFinite, Patience, Reaches
from ..policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from .annotations import OneOrMore, combine_with
from .references import FunctionRef, MetricRef
from .scalars import Alpha, Count, Duration, Finite, Index, Moment, Name, Positive, Share, Tag


class Fields:
    """The fields of a mapping in the file.

    Args:
        title: Its title in the JSON schema.
        description: Its description in the JSON schema.
        one: Whether exactly one of the fields is given.
        types: The type of each field by name, in the order in which they are written.
    """

    def __init__(self, title: str, description: str | None, /, *, one: bool = False, **types: Any) -> None:
        self.title, self.description, self.one, self.types = title, description, one, types


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: Its name in the file.
        kind: Its class.
        value: What follows the name: `Fields`; or the type of a single value, which is the first field of the class; or
            None if nothing follows it.
        renamed: Maps the name of a field in the file to its name in the class, if the two differ.
        explicit: Fields that are written even if they equal their default.
        or_duration: Whether a duration, such as ``20 min``, may be in the place of the fields.
        or_number: Whether, in a mirror, the number alone may be in the place of the fields; the metric is then the one
            that decides which checkpoint of the run is the best.
    """

    name: str
    kind: type
    value: Any = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    explicit: tuple[str, ...] = ()
    or_duration: bool = False
    or_number: bool = False


_TRIGGERS = "Triggers"  # the type that `schema` makes of the table, by its name: triggers nest in triggers
_COUNTS = Annotated[list[Count], Field(min_length=1), OneOrMore()]
_NAMES = Annotated[list[Name], Field(min_length=1), OneOrMore()]
_BY_METRIC = {"by": "metric"}
_THRESHOLD = Fields(
    "ThresholdNode", "Stop when the metric is at the value or better (reaches), or worse than it (diverges).",
    by=MetricRef, value=Finite,
)  # fmt: skip

TRIGGERS = (
    Rule("every", Every, Fields(
        "EveryNode",
        "Due each time that a multiple of the interval is crossed, or as often as a share of the training time allows.",
        one=True, epochs=Count, steps=Count, seconds=Positive, minutes=Positive, hours=Positive, overhead=Share,
    ), or_duration=True),
    Rule("optimal", Optimal, Fields(
        "OptimalNode", "Due at the interval that loses the least time for a given mean time between failures.",
        mtbf=Duration,
    )),
    Rule("at", At, Fields(
        "AtNode", "Due when one of the listed steps or epochs is crossed.", one=True, steps=_COUNTS, epochs=_COUNTS,
    )),
    Rule("improves", Improves, MetricRef),
    Rule("on_preempt", OnPreempt),
    Rule("on_exception", OnException),
    Rule("on_deadline", OnDeadline, Fields(
        "DeadlineNode",
        "Due a given time before the job ends. The job scheduler provides the end if the file does not.",
        before=Duration, end=NotRequired[Moment],
    )),
    Rule("any", AnyOf, _TRIGGERS),
    Rule("all", AllOf, _TRIGGERS),
    Rule("not", Not, Annotated[_TRIGGERS, combine_with(AnyOf)]),
    Rule("predicate", Predicate, FunctionRef),
)  # fmt: skip

RETENTIONS = (
    Rule("all", KeepAll),
    Rule("last", KeepLast, Count),
    Rule("best", KeepBest, Fields(
        "BestNode", "Keep the n best checkpoints by a metric.", n=NotRequired[Count], by=MetricRef,
    ), explicit=("n",), or_number=True),
    Rule("every", KeepEvery, Fields(
        "KeepEveryNode", "Keep the first checkpoint at or after each multiple of the interval.",
        one=True, epochs=Count, steps=Count, hours=Positive,
    ), or_duration=True),
    Rule("within", KeepWithin, Fields(
        "WithinNode", "Keep the checkpoints that are at most a given time older than the newest one.", hours=Positive,
    ), or_duration=True),
    Rule("tagged", KeepTagged, Tag),
)  # fmt: skip

STOPPINGS = (
    Rule("patience", Patience, Fields(
        "PatienceNode", "Stop when the metric has not improved for a given number of measurements.",
        by=MetricRef, checks=Count, start_from_epoch=NotRequired[Index],
    ), _BY_METRIC),
    Rule("reaches", Reaches, _THRESHOLD, _BY_METRIC),
    Rule("diverges", Diverges, _THRESHOLD, _BY_METRIC),
    Rule("non_finite", NonFinite, Fields(
        "NonFiniteNode", "Stop when a metric was NaN or infinite a given number of times in a row.",
        monitor=_NAMES, consecutive=NotRequired[Count],
    )),
)  # fmt: skip

SMOOTHINGS = (Rule("ema", EMA, Alpha), Rule("mean", Mean, Count), Rule("median", Median, Count))

RULES = {rule.kind: rule for rules in (TRIGGERS, RETENTIONS, STOPPINGS, SMOOTHINGS) for rule in rules}
