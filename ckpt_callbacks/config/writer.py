"""The plain document that a `Config` is written as."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from typing_extensions import NotRequired

from ..errors import PolicyError
from ..policy.composition import AnyOf, Trigger
from ..policy.metric import Metric
from ..policy.mirror import Mirror
from ..policy.retention import Retention
from ..policy.smoothing import Smoothing
from .import_path import reference_to
from .problems import BESIDE_A_RULE
from .rule_contents import PLAIN_FORMS, written_beside
from .rule_names import RULES, Fields, Rule
from .scalars import Moment

if TYPE_CHECKING:
    from .config import Config

_LARGEST_INTEGER = 2**53  # above it, not every whole number is a float
_MOMENTS = (Moment, NotRequired[Moment])


def document(config: Config) -> dict[str, Any]:
    """Return the canonical document, with fields in the usual order and defaults left out.

    Raises:
        PolicyError: A part has no form in YAML, such as a lambda.
    """
    policy = config.policy
    writer = _Writer(_MetricNames(_metrics(policy.save, policy.keep, policy.stop, policy.best_by, config.settings)))
    save = policy.save.parts() if isinstance(policy.save, AnyOf) and len(policy.save.parts()) > 1 else (policy.save,)
    rules = {
        "metrics": {name: writer.fields(metric) for metric, name in writer.names.defined.items()},
        "save": [writer.rule(trigger) for trigger in save],
        "keep": [writer.rule(rule) for rule in policy.keep.parts()],
        "stop": [writer.rule(rule) for rule in policy.stop.parts()] if policy.stop is not None else None,
        "best_by": None if policy.best_by is None else writer.names[policy.best_by],
    }
    settings = writer.fields(config.settings)
    first: dict[str, Any] = {name: settings.pop(name) for name in ("dirpath", "filename") if name in settings}
    return {"version": 1, **first, **{name: value for name, value in rules.items() if value}, **settings}


class _MetricNames:
    """Names for the metrics of a policy, made from what they monitor."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        distinct = list(dict.fromkeys(metrics))
        smoothed: dict[Metric, Metric] = {}
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
    """Yield the metrics that the rules name, in the order of their appearance."""
    for part in parts:
        if isinstance(part, Metric):
            yield part
        elif dataclasses.is_dataclass(part):
            yield from _metrics(*(getattr(part, field.name) for field in dataclasses.fields(part)))
        elif isinstance(part, tuple):
            yield from _metrics(*part)


class _Writer:
    """The plain forms of policy values.

    Args:
        names: What the file calls each metric.
    """

    def __init__(self, names: _MetricNames) -> None:
        self.names = names

    def rule(self, value: Any) -> Any:
        """Return a trigger, retention rule, stopping rule or smoothing in the form that the table gives it."""
        rule = next((RULES[kind] for kind in type(value).__mro__ if kind in RULES), None)
        if rule is None:
            raise PolicyError(f"{value!r} cannot be written as YAML, which supports only the rules of ckpt_callbacks")
        beside = written_beside(value)
        if rule.value is None:
            return {rule.name: None, **beside} if beside else rule.name
        if isinstance(rule.value, Fields):
            return {rule.name: self._mapping(rule, rule.value, value), **beside}
        attribute = next(field.name for field in dataclasses.fields(value) if not field.kw_only)
        _refuse_others(rule, value, [attribute])
        return {rule.name: self._plain(getattr(value, attribute)), **beside}

    def _mapping(self, rule: Rule, fields: Fields, value: Any) -> dict[str, Any]:
        attributes = {name: rule.renamed.get(name, name) for name in fields.types}
        _refuse_others(rule, value, attributes.values())
        given, found = _given(value), {}
        for name, attribute in attributes.items():
            if attribute in given or name in rule.explicit:
                part = getattr(value, attribute)
                found[name] = _moment(part) if fields.types[name] in _MOMENTS else self._plain(part)
        return found

    def fields(self, value: Any) -> dict[str, Any]:
        """Return the fields of a dataclass that differ from their defaults, by their names in the file."""
        return {name: self._plain(part) for name, part in _given(value).items()}

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Metric):
            return self.names[value]
        if isinstance(value, Trigger | Smoothing):
            return self.rule(value)
        if isinstance(value, Retention):
            return [self.rule(rule) for rule in value.parts()]
        if type(value) in PLAIN_FORMS:
            return PLAIN_FORMS[type(value)](value)
        if isinstance(value, Mirror):
            given = self.fields(value)
            return given if len(given) > 1 else given["url"]
        if isinstance(value, tuple):
            plain = [self._plain(part) for part in value]
            return dict(plain) if isinstance(value[0], tuple) else plain  # names and their weights
        if isinstance(value, float):
            return _number(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        return reference_to(value) if callable(value) else value


def _given(value: Any) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    fields = {field.name: (getattr(value, field.name), _default(field)) for field in dataclasses.fields(value)}
    return {name: given for name, (given, default) in fields.items() if given != default}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _refuse_others(rule: Rule, value: Any, attributes: Iterable[str]) -> None:
    """Raise `PolicyError` if the value has attributes that would not be written."""
    others = [field.name for field in dataclasses.fields(value) if field.name not in (*attributes, BESIDE_A_RULE)]
    if not others:
        return
    read_back = rule.kind(**{name: getattr(value, name) for name in attributes})
    for name in others:
        given = getattr(value, name)
        if given != getattr(read_back, name):
            raise PolicyError(f"{rule.kind.__name__}: {name} is {given!r}, for which YAML has no field; expected none")


def _moment(moment: float) -> Any:
    """Return UTC seconds as a date and time if that is exact, otherwise as a number."""
    try:
        date = datetime.fromtimestamp(moment, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return _number(moment)  # outside the dates that Python supports
    return date.isoformat().replace("+00:00", "Z") if date.timestamp() == moment else _number(moment)


def _number(value: float) -> float:
    """Return 20 for 20.0, so that both are written the same way."""
    return int(value) if value == int(value) and abs(value) < _LARGEST_INTEGER else float(value)
