"""The shape of the file. Each part is a pydantic type, and is read straight into the policy value that it stands for.

Reading in one pass is what lets all mistakes of a file be reported at once, with those that only a policy value
notices among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, ValidationInfo, with_config
from typing_extensions import NotRequired, TypedDict

from ..errors import PolicyError
from ..policy.composition import AllOf, AnyOf, Not
from ..policy.filename import FROM_METADATA, FileName
from ..policy.pace import Optimal
from ..policy.retention import AnyKeep, KeepAll, KeepBest, KeepEvery, KeepLast, KeepTagged, KeepWithin
from ..policy.stopping import AnyStop, Diverges, NonFinite, Patience, Reaches
from ..policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from .annotations import FIELDS, ONE_FIELD, OneOf, OneOrMore, becomes, joined_by
from .import_path import find
from .metrics import MetricRef, Metrics, Reading
from .problems import describe, problem
from .scalars import Count, Duration, Finite, Index, Moment, Name, Positive, Reference, Share, Size, Tag, Version


def read(parsed: Any, *, allow_code: bool) -> tuple[dict[str, Any], list[str]]:
    """The facts of a parsed file, with policy values in them, and one line for each mistake; one of both is empty."""
    if parsed is None:
        return {}, ["is empty; expected a mapping with at least save"]
    try:
        return _DOCUMENT.validate_python(parsed, context=Reading(allow_code)), []
    except ValidationError as error:
        return {}, describe(error, parsed, DocumentNode)


def json_schema() -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of the file, for editors that complete and check while one types."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_DOCUMENT.json_schema(),
        "title": "ckpt_callbacks policy",
    }


# -- save ------------------------------------------------------------------------------------------------------------


@with_config(ONE_FIELD)
class EveryNode(TypedDict, total=False):
    """Due each time that a multiple of the interval is crossed, or as often as a share of the training time allows."""

    epochs: Count
    steps: Count
    seconds: Positive
    minutes: Positive
    hours: Positive
    overhead: Share


@with_config(FIELDS)
class OptimalNode(TypedDict):
    """Due at the interval that loses the least time where trainings fail so often on average."""

    mtbf: Duration


@with_config(ONE_FIELD)
class AtNode(TypedDict, total=False):
    """Due when one of the listed steps or epochs is crossed."""

    steps: Annotated[list[Count], Field(min_length=1), OneOrMore()]
    epochs: Annotated[list[Count], Field(min_length=1), OneOrMore()]


@with_config(FIELDS)
class DeadlineNode(TypedDict):
    """Due so long before the end of the job, which the job scheduler says where the file does not."""

    before: Duration
    end: NotRequired[Moment]


def _import(reference: str, info: ValidationInfo) -> Callable[..., Any]:
    if not info.context.allow_code:
        raise problem(f"got {reference!r}, which is code; pass allow_code=True to import it")
    try:
        return find(reference)
    except Exception as error:  # whatever the module raises while it is imported
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise problem(f"{reference!r} cannot be imported: {why}; expected a function, such as pkg.mod:fn") from None


TriggerNode = with_config(ONE_FIELD)(
    TypedDict(
        "TriggerNode",
        {
            "every": Annotated[EveryNode, becomes(Every)],
            "optimal": Annotated[OptimalNode, becomes(Optimal)],
            "at": Annotated[AtNode, becomes(At)],
            "improves": Annotated[MetricRef, becomes(Improves)],
            "on_preempt": Annotated[None, becomes(OnPreempt)],
            "on_exception": Annotated[None, becomes(OnException)],
            "on_deadline": Annotated[DeadlineNode, becomes(OnDeadline)],
            "any": Annotated["Triggers", becomes(AnyOf)],
            "all": Annotated["Triggers", becomes(AllOf)],
            "not": Annotated["Triggers", joined_by(AnyOf), becomes(Not)],
            "predicate": Annotated[Reference, AfterValidator(_import), becomes(Predicate)],
        },
        total=False,
    )
)
Triggers = Annotated[
    list[Annotated[TriggerNode, OneOf("on_preempt", "on_exception")]], Field(min_length=1), OneOrMore()
]


# -- keep ------------------------------------------------------------------------------------------------------------


@with_config(FIELDS)
class BestNode(TypedDict):
    """Keep the n best by a metric."""

    n: NotRequired[Count]
    by: MetricRef


@with_config(ONE_FIELD)
class KeepEveryNode(TypedDict, total=False):
    """Keep the first checkpoint at or after each multiple of the interval."""

    epochs: Count
    steps: Count
    hours: Positive


@with_config(FIELDS)
class WithinNode(TypedDict):
    """Keep what is at most so much older than the newest checkpoint."""

    hours: Positive


@with_config(ONE_FIELD)
class RetentionNode(TypedDict, total=False):
    """One rule; what any rule keeps survives."""

    all: Annotated[None, becomes(KeepAll)]
    last: Annotated[Count, becomes(KeepLast)]
    best: Annotated[BestNode, becomes(KeepBest)]
    every: Annotated[KeepEveryNode, becomes(KeepEvery)]
    within: Annotated[WithinNode, becomes(KeepWithin)]
    tagged: Annotated[Tag, becomes(KeepTagged)]


Retentions = Annotated[list[Annotated[RetentionNode, OneOf("all")]], Field(min_length=1), OneOrMore()]


# -- stop ------------------------------------------------------------------------------------------------------------


@with_config(FIELDS)
class PatienceNode(TypedDict):
    """Stop when the metric has not improved in so many measurements."""

    by: MetricRef
    checks: Count
    start_from_epoch: NotRequired[Index]


@with_config(FIELDS)
class ThresholdNode(TypedDict):
    """Stop when the metric is at the value or better (reaches), or worse than it (diverges)."""

    by: MetricRef
    value: Finite


@with_config(FIELDS)
class NonFiniteNode(TypedDict):
    """Stop when a metric was NaN or infinite so many times in a row."""

    monitor: Annotated[list[Name], Field(min_length=1), OneOrMore()]
    consecutive: NotRequired[Count]


@with_config(ONE_FIELD)
class StoppingNode(TypedDict, total=False):
    """One rule; training stops when any rule says so."""

    patience: Annotated[PatienceNode, becomes(Patience, by="metric")]
    reaches: Annotated[ThresholdNode, becomes(Reaches, by="metric")]
    diverges: Annotated[ThresholdNode, becomes(Diverges, by="metric")]
    non_finite: Annotated[NonFiniteNode, becomes(NonFinite)]


Stoppings = Annotated[list[Annotated[StoppingNode, OneOf()]], Field(min_length=1), OneOrMore()]


# -- the whole file --------------------------------------------------------------------------------------------------


def _check_filename(template: str, info: ValidationInfo) -> str:
    names = [name for metric in info.data.get("metrics", {}).values() for name in metric.names]
    rules = info.data["stop"].parts() if "stop" in info.data else ()
    names += [name for rule in rules if isinstance(rule, NonFinite) for name in rule.monitor]
    try:
        # A callback may be given more metadata than the file holds.
        FileName(template, (*info.data.get("metadata", ()), *FROM_METADATA), tuple(names))
    except PolicyError as error:
        raise problem(str(error).removeprefix("filename ")) from None
    return template


@with_config(FIELDS)
class DocumentNode(TypedDict):
    """When to save, what to keep, when to stop, and what the files hold."""

    # Read in this order: `metrics` before all that names one, and `filename` after what it may name.
    version: NotRequired[Version]
    dirpath: NotRequired[str]
    metrics: NotRequired[Metrics]
    save: Annotated[Triggers, joined_by(AnyOf)]
    keep: NotRequired[Annotated[Retentions, joined_by(AnyKeep)]]
    stop: NotRequired[Annotated[Stoppings, joined_by(AnyStop)]]
    best_by: NotRequired[MetricRef]
    contents: NotRequired[Literal["full", "weights"]]
    metadata: NotRequired[dict[str, Any]]
    filename: NotRequired[Annotated[str, AfterValidator(_check_filename)]]
    on_error: NotRequired[Literal["warn", "raise"]]
    grace: NotRequired[Duration]
    min_free: NotRequired[Size]
    background: NotRequired[bool]
    max_pending: NotRequired[Count]
    when_busy: NotRequired[Literal["wait", "skip"]]
    staging: NotRequired[Literal["memory", "none"]]


_DOCUMENT = TypeAdapter(DocumentNode)
