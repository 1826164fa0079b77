"""The schema of the file: pydantic types that read each part straight into the policy value that it stands for.

Because the file is read in one pass, all its mistakes can be reported at once, including those that only a policy value
notices.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    with_config,
)  # fmt: skip
from typing_extensions import NotRequired, TypedDict

from ..errors import PolicyError
from ..policy.composition import AnyOf
from ..policy.filename import FROM_METADATA, FileName
from ..policy.metric import Metric, UnknownDirection
from ..policy.policy import Policy
from ..policy.retention import AnyKeep
from ..policy.stopping import AnyStop, NonFinite
from .annotations import FIELDS, NOT_EMPTY, build, combine_with, nullable
from .mirror_node import Mirrors
from .problems import describe, meant_by, problem
from .references import MetricRef, Reading
from .resume import OrPlace
from .rule_contents import AnyContents
from .rule_types import Retentions, SmoothingRule, Stoppings, Triggers
from .scalars import Count, Delta, Duration, Finite, Index, Mode, Monitor, Size, Version


def read(parsed: Any, *, allow_code: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a parsed file as policy values, and one line for each mistake. One of the two is empty.

    Args:
        parsed: The contents of the file as plain values.
        allow_code: Whether predicates may be imported.
    """
    if parsed is None:
        return {}, ["is empty; expected a mapping with at least save or monitor"]
    parsed = _without_nulls(parsed)
    given = tuple(parsed) if isinstance(parsed, dict) else ()
    document, shape = _DOCUMENT, cast(type, DocumentNode)
    reading = Reading(allow_code, given)
    clash: list[str] = []
    if isinstance(parsed, dict):
        written = {meant_by(name, AnyNode): name for name in parsed}  # by the fields that misspelt names may mean
        content = {field: parsed[name] for field, name in written.items()}
        if isinstance(monitor := content.get("monitor"), str):
            reading.monitor = monitor
        if isinstance(metrics := content.get("metrics"), dict):
            reading.metrics = dict.fromkeys(metrics, _ANY_METRIC)
        rules = [str(name) for field, name in written.items() if field in RULES]
        if "monitor" in written and rules:
            document, shape = _ANY, AnyNode
            clash.append(
                f"got {written['monitor']} and {', '.join(rules)}, but monitor stands for a whole policy, the default "
                "one; expected either monitor (with mode and patience), or save, keep and stop, with the monitored "
                "name under metrics"
            )
        elif not rules and not _SHORT_ONLY.isdisjoint(written):
            document, shape = _SHORT, ShortNode
    try:
        found = document.validate_python(parsed, context=reading)
    except ValidationError as error:
        return {}, [*describe(error, parsed, shape), *clash]
    return ({}, clash) if clash else (found, [])


def json_schema() -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) of the file, for editors that complete and check as you type."""
    _, schema = TypeAdapter.json_schemas(
        [("whole", "validation", _DOCUMENT), ("short", "validation", _SHORT)], title="ckpt_callbacks policy"
    )
    refs = [{"$ref": f"#/$defs/{node.__name__}"} for node in (DocumentNode, ShortNode)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "anyOf": refs}


# Fields whose default in Python is None, so that null in a file means the same as leaving the field out.
_NULLABLE = ("dirpath", "mode", "patience", "stop", "best_by", "filename", "resume")
_NULLABLE_IN_METRIC = ("mode", "smoothing", "baseline")


# -- metrics ---------------------------------------------------------------------------------------------------------


@with_config(nullable(*_NULLABLE_IN_METRIC))
class MetricNode(TypedDict):
    """A logged value, its direction, and how it is compared."""

    monitor: Monitor
    mode: NotRequired[Mode]  # unless the name says it
    smoothing: NotRequired[SmoothingRule]
    min_delta: NotRequired[Delta]
    min_delta_mode: NotRequired[Literal["abs", "rel"]]
    baseline: NotRequired[Finite]
    start_from_epoch: NotRequired[Index]
    nan: NotRequired[Literal["stale", "skip"]]
    per: NotRequired[Literal["epoch", "step"]]


_ANY_METRIC = Metric("unknown", mode="min")  # in place of one that has mistakes


def _define(raw: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> dict[str, Metric]:
    # A wrong metric counts as one mistake, not as another at each place that names it.
    reading = Reading.of(info)
    if isinstance(raw, dict):
        reading.metrics = dict.fromkeys(raw, _ANY_METRIC)
    reading.metrics = handler(raw)
    return reading.metrics


Metrics = Annotated[dict[str, Annotated[MetricNode, build(Metric)]], WrapValidator(_define)]


# -- resuming --------------------------------------------------------------------------------------------------------


@with_config(FIELDS)
class ResumeNode(TypedDict, total=False):
    """The parts of a checkpoint that a resume restores besides the weights; by default, all of them."""

    optimizer: bool
    step: bool


# -- the whole file --------------------------------------------------------------------------------------------------


def _check_dirpath(dirpath: str) -> str:
    if not dirpath.strip():
        raise problem(f"got {dirpath!r}; expected a run directory, such as runs/a")
    return dirpath


def _check_filename(template: str, info: ValidationInfo) -> str:
    names = [name for metric in info.data.get("metrics", {}).values() for name in metric.names]
    if "monitor" in info.data:
        names += Metric(info.data["monitor"], mode="min").names
    rules = info.data["stop"].parts() if "stop" in info.data else ()
    names += [name for rule in rules if isinstance(rule, NonFinite) for name in rule.monitor]
    try:
        # A callback may add metadata that the file does not hold.
        FileName(template, (*info.data.get("metadata", ()), *FROM_METADATA), tuple(names))
    except PolicyError as error:
        raise problem(str(error).removeprefix("filename ")) from None
    return template


# The fields are read in the order of the bases: `metrics` before every field that names a metric, `filename` after
# every field that it may name.


class _Head(TypedDict):
    version: NotRequired[Version]
    dirpath: NotRequired[Annotated[str, AfterValidator(_check_dirpath), NOT_EMPTY]]


class _Rules(TypedDict):
    metrics: NotRequired[Metrics]
    save: Annotated[Triggers, combine_with(AnyOf)]
    keep: NotRequired[Annotated[Retentions, combine_with(AnyKeep)]]
    stop: NotRequired[Annotated[Stoppings, combine_with(AnyStop)]]
    best_by: NotRequired[MetricRef]


class _Default(TypedDict):
    monitor: Monitor
    mode: NotRequired[Mode]
    patience: NotRequired[Count]


class _Settings(TypedDict):
    contents: NotRequired[AnyContents]
    metadata: NotRequired[dict[str, Any]]
    filename: NotRequired[Annotated[str, AfterValidator(_check_filename), NOT_EMPTY]]
    on_error: NotRequired[Literal["warn", "raise"]]
    grace: NotRequired[Duration]
    min_free: NotRequired[Size]
    max_total_size: NotRequired[Size]
    background: NotRequired[bool]
    max_pending: NotRequired[Count]
    when_busy: NotRequired[Literal["wait", "skip"]]
    staging: NotRequired[Literal["memory", "none"]]
    resume: NotRequired[Annotated[ResumeNode, OrPlace()]]
    mirrors: NotRequired[Mirrors]


RULES = tuple(_Rules.__annotations__)


@with_config(nullable(*_NULLABLE))
class DocumentNode(_Head, _Rules, _Settings):
    """When to save, what to keep, when to stop, and what the files hold."""


@with_config(nullable(*_NULLABLE))
class ShortNode(_Head, _Default, _Settings):
    """The default policy for one metric, and what the files hold."""


@with_config(FIELDS)
class AnyNode(_Head, _Rules, _Default, _Settings):
    """All fields, which no file may have at once."""


def _with_default(parts: dict[str, Any]) -> dict[str, Any]:
    given = {name: parts.pop(name) for name in _Default.__annotations__ if name in parts}
    try:
        policy = Policy.default(**given)
    except UnknownDirection as error:
        raise problem(f"monitor: {error.in_yaml}") from None
    except PolicyError as error:
        raise problem(str(error).removeprefix("Policy.default: ")) from None
    return {**parts, "save": policy.save, "keep": policy.keep, "stop": policy.stop}


def _without_nulls(parsed: Any) -> Any:
    """Return a parsed file without the explicit nulls of fields whose default in Python is None."""
    if not isinstance(parsed, dict):
        return parsed
    parsed = {name: value for name, value in parsed.items() if value is not None or name not in _NULLABLE}
    if isinstance(metrics := parsed.get("metrics"), dict):
        parsed["metrics"] = {name: _metric_without_nulls(metric) for name, metric in metrics.items()}
    return parsed


def _metric_without_nulls(metric: Any) -> Any:
    if not isinstance(metric, dict):
        return metric
    return {name: value for name, value in metric.items() if value is not None or name not in _NULLABLE_IN_METRIC}


_SHORT_ONLY = frozenset(_Default.__annotations__)
_DOCUMENT: TypeAdapter[Any] = TypeAdapter(DocumentNode)
_SHORT: TypeAdapter[Any] = TypeAdapter(Annotated[ShortNode, AfterValidator(_with_default)])
_ANY: TypeAdapter[Any] = TypeAdapter(AnyNode)
