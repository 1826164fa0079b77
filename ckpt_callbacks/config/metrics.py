"""The metrics that a file defines, and how its other parts name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    with_config,
)
from typing_extensions import NotRequired, TypedDict

from ..policy.metric import Metric
from ..policy.smoothing import EMA, Mean, Median
from .annotations import FIELDS, ONE_FIELD, OneOf, becomes
from .problems import near, problem
from .scalars import Alpha, Count, Delta, Finite, Index, Mode, Monitor, Name


@dataclass
class Reading:
    """What the parts of one file know of each other while it is read."""

    allow_code: bool
    metrics: dict[str, Metric] = field(default_factory=dict)


@with_config(ONE_FIELD)
class SmoothingNode(TypedDict, total=False):
    """What is done to a metric before it is compared."""

    ema: Annotated[Alpha, becomes(EMA)]
    mean: Annotated[Count, becomes(Mean)]
    median: Annotated[Count, becomes(Median)]


@with_config(FIELDS)
class MetricNode(TypedDict):
    """A logged value, its direction, and how it is compared."""

    monitor: Monitor
    mode: Mode
    smoothing: NotRequired[Annotated[SmoothingNode, OneOf()]]
    min_delta: NotRequired[Delta]
    min_delta_mode: NotRequired[Literal["abs", "rel"]]
    baseline: NotRequired[Finite]
    start_from_epoch: NotRequired[Index]
    nan: NotRequired[Literal["stale", "skip"]]


def _define(raw: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> dict[str, Metric]:
    # A metric that is wrong is one mistake, not another one at each place that names it.
    if isinstance(raw, dict):
        info.context.metrics = dict.fromkeys(raw, Metric("unknown", mode="min"))
    info.context.metrics = handler(raw)
    return info.context.metrics


def _look_up(name: str, info: ValidationInfo) -> Metric:
    defined = info.context.metrics
    base = name.removesuffix(".raw")
    if name in defined:
        return defined[name]
    if base in defined:
        return defined[base].raw
    names = ", ".join(map(str, defined)) or "none"
    raise problem(f"unknown metric {name!r}; defined are: {names}{near(base, defined)}")


Metrics = Annotated[dict[str, Annotated[MetricNode, becomes(Metric)]], WrapValidator(_define)]
MetricRef = Annotated[Name, AfterValidator(_look_up)]
