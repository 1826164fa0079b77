"""A `Config` as the plain document that its YAML text shows."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from ..errors import PolicyError
from ..policy.composition import AllOf, AnyOf, Not, Trigger
from ..policy.metric import Metric
from ..policy.pace import Optimal
from ..policy.retention import KeepAll, KeepBest, KeepEvery, KeepLast, KeepTagged, KeepWithin, Retention
from ..policy.smoothing import EMA, Mean, Median, Smoothing
from ..policy.stopping import Diverges, NonFinite, Patience, Reaches, Stopping
from ..policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from ..settings import Settings
from .import_path import reference_to

if TYPE_CHECKING:
    from .config import Config

_LARGEST_INTEGER = 2**53  # above it, not every whole number is a float


def document(config: Config) -> dict[str, Any]:
    """The canonical document: fields in the order in which people write them, defaults left out.

    Raises:
        PolicyError: something has no form in YAML, such as a lambda.
    """
    policy = config.policy
    names = _Names(_metrics(policy.save, policy.keep, policy.stop, policy.best_by))
    save = policy.save.parts() if isinstance(policy.save, AnyOf) and len(policy.save.parts()) > 1 else (policy.save,)
    rules = {
        "metrics": {name: _metric(metric) for metric, name in names.defined.items()},
        "save": [_trigger(trigger, names) for trigger in save],
        "keep": [_retention(rule, names) for rule in policy.keep.parts()],
        "stop": [_stopping(rule, names) for rule in policy.stop.parts()] if policy.stop is not None else None,
        "best_by": None if policy.best_by is None else names[policy.best_by],
    }
    settings = _settings(config.settings)
    first = {name: settings.pop(name) for name in ("dirpath", "filename") if name in settings}
    return {"version": 1, **first, **{name: value for name, value in rules.items() if value}, **settings}


def _settings(settings: Settings) -> dict[str, Any]:
    given = _given(settings)
    if "dirpath" in given:
        given["dirpath"] = os.fspath(given["dirpath"])
    return given


class _Names:
    """Names for the metrics of a policy, made from what they monitor."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        distinct = list(dict.fromkeys(metrics))
        smoothed = {}
        for metric in distinct:
            if metric.smoothing is not None:
                smoothed.setdefault(metric.raw, metric)
        self.defined: dict[Metric, str] = {}
        for metric in distinct:
            if metric not in smoothed:
                self.defined[metric] = self._free(metric)
        self._raw = {raw: f"{self.defined[metric]}.raw" for raw, metric in smoothed.items()}

    def __getitem__(self, metric: Metric) -> str:
        return self.defined.get(metric) or self._raw[metric]

    def _free(self, metric: Metric) -> str:
        first = isinstance(metric.monitor, str) or isinstance(metric.monitor[0], str)
        base = re.sub(r"\W+", "_", "_".join(metric.names[:1] if first else metric.names)).strip("_") or "metric"
        numbered = chain((base,), (f"{base}_{n}" for n in count(2)))
        return next(name for name in numbered if name not in self.defined.values())


def _metrics(*parts: Any) -> Iterator[Metric]:
    """The metrics that the rules name, in the order in which they stand."""
    for part in parts:
        if isinstance(part, Metric):
            yield part
        elif dataclasses.is_dataclass(part):
            yield from _metrics(*(getattr(part, field.name) for field in dataclasses.fields(part)))
        elif isinstance(part, tuple):
            yield from _metrics(*part)


def _metric(metric: Metric) -> dict[str, Any]:
    facts = _given(metric)
    if isinstance(metric.monitor, tuple) and not isinstance(metric.monitor[0], str):
        facts["monitor"] = {name: _number(weight) for name, weight in metric.monitor}
    if metric.smoothing is not None:
        facts["smoothing"] = _smoothing(metric.smoothing)
    return facts


def _smoothing(smoothing: Smoothing) -> dict[str, Any]:
    match smoothing:
        case EMA():
            return {"ema": _number(smoothing.alpha)}
        case Mean():
            return {"mean": smoothing.window}
        case Median():
            return {"median": smoothing.window}
    raise _unknown(smoothing)


def _trigger(trigger: Trigger, names: _Names) -> Any:
    match trigger:
        case Every():
            return {"every": _given(trigger)}
        case Optimal():
            return {"optimal": _given(trigger)}
        case At():
            return {"at": _given(trigger)}
        case Improves():
            return {"improves": names[trigger.metric]}
        case OnPreempt():
            return "on_preempt"
        case OnException():
            return "on_exception"
        case OnDeadline():
            return {"on_deadline": _deadline(trigger)}
        case Predicate():
            return {"predicate": _predicate(trigger)}
        case Not():
            return {"not": _trigger(trigger.trigger, names)}
        case AnyOf() | AllOf():
            parts = [_trigger(part, names) for part in trigger.triggers]
            return {"any" if isinstance(trigger, AnyOf) else "all": parts}
    raise _unknown(trigger)


def _deadline(trigger: OnDeadline) -> dict[str, Any]:
    facts = {"before": _number(trigger.before)}
    if trigger.end is None:
        return facts
    try:
        moment = datetime.fromtimestamp(trigger.end, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return {**facts, "end": _number(trigger.end)}  # later than any calendar says
    exact = moment.timestamp() == trigger.end
    return {**facts, "end": moment.isoformat().replace("+00:00", "Z") if exact else _number(trigger.end)}


def _retention(rule: Retention, names: _Names) -> Any:
    match rule:
        case KeepAll():
            return "all"
        case KeepLast():
            return {"last": rule.n}
        case KeepBest():
            return {"best": {"n": rule.n, "by": names[rule.by]}}
        case KeepEvery():
            return {"every": _given(rule)}
        case KeepWithin():
            return {"within": _given(rule)}
        case KeepTagged():
            return {"tagged": rule.tag}
    raise _unknown(rule)


def _stopping(rule: Stopping, names: _Names) -> Any:
    match rule:
        case Patience() | Reaches() | Diverges():
            facts = _given(rule)
            del facts["metric"]
            return {type(rule).__name__.lower(): {"by": names[rule.metric], **facts}}
        case NonFinite():
            return {"non_finite": _given(rule)}
    raise _unknown(rule)


def _predicate(trigger: Predicate) -> str:
    if trigger.name != Predicate(trigger.function).name:
        raise PolicyError(f"Predicate: name is {trigger.name!r}, for which YAML has no place; expected none")
    return reference_to(trigger.function)


def _given(value: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, as plain values."""
    fields = {field.name: (getattr(value, field.name), _default(field)) for field in dataclasses.fields(value)}
    return {name: _plain(given) for name, (given, default) in fields.items() if given != default}


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return _number(value)
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _number(value: float) -> float:
    """20 for 20.0, so that both are written alike."""
    return int(value) if value == int(value) and abs(value) < _LARGEST_INTEGER else float(value)


def _unknown(value: Any) -> PolicyError:
    return PolicyError(f"{value!r} cannot be written as YAML, which knows only the rules of ckpt_callbacks")
