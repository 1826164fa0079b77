"""References in a file: metrics by the name that the file gives them, functions by their import path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from ..policy.direction import direction_of
from ..policy.metric import Metric
from ..policy.spelling import near
from .import_path import find
from .problems import choices, problem, received
from .scalars import Name, Reference

_PLAIN = re.compile(r"\w[\w./-]*")  # what YAML reads as text without quotes, unless it is a number


@dataclass
class Reading:
    """The state that the parts of one file share while it is read.

    Attributes:
        allow_code: Whether functions may be imported.
        given: The names of the fields that the file has.
        monitor: The name that the file has for the default policy; empty if it has none.
        metrics: The metrics that the file defines, by name.
        best: The metric that decides which checkpoint is best, once the rules have been read.
    """

    allow_code: bool
    given: tuple[object, ...] = ()
    monitor: str = ""
    metrics: dict[str, Metric] = field(default_factory=dict)
    best: Metric | None = None

    @classmethod
    def of(cls, info: ValidationInfo) -> Reading:
        """Return the state that pydantic hands to a validator."""
        return cast(Reading, info.context)


def _look_up(name: str, info: ValidationInfo) -> Metric:
    reading = Reading.of(info)
    defined = reading.metrics
    base = name.removesuffix(".raw")
    if name in defined:
        return defined[name]
    if base in defined:
        return defined[base].raw
    if direction_of(base) is not None and not near(base, defined):  # as in Python, it needs no definition
        return Metric(base)
    names = ", ".join(map(str, defined)) or "none"
    hint = near(base, defined)
    if not defined and _PLAIN.fullmatch(base):
        logged = reading.monitor if _PLAIN.fullmatch(reading.monitor) else base
        mode, other = ("", "") if direction_of(logged) is not None else (", mode: min", ", or mode: max")
        hint = f"; to define it, write metrics: {{{base}: {{monitor: {logged}{mode}}}}}{other}"
    raise problem(f"unknown metric {name!r}; defined metrics: {names}{hint}")


def _import(reference: str, info: ValidationInfo) -> Callable[..., Any]:
    if not Reading.of(info).allow_code:
        raise problem(f"got {reference!r}, which is code; pass allow_code=True to import it")
    try:
        return cast("Callable[..., Any]", find(reference))
    except Exception as error:  # importing a module may raise anything
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise problem(f"{reference!r} cannot be imported: {why}; expected a function, such as pkg.mod:fn") from None


class OrNumber:
    """Annotation of the fields of ``best``; in their place, a file may hold how many, by the policy's own metric."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: core_schema.ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
            if isinstance(raw, dict):
                return mapping(raw)
            if isinstance(raw, bool) or not isinstance(raw, int):
                raise problem(
                    f"got {received(raw)}; expected a whole number of at least 1, or a mapping with {choices(source)}"
                )
            if raw < 1:
                raise problem(f"got {raw}; expected a whole number of at least 1")
            if (best := Reading.of(info).best) is None:
                raise problem(
                    f"got {raw}, but no rule of the policy says which checkpoint is the best; expected a mapping with "
                    f"{choices(source)}"
                )
            return {"n": raw, "by": best}

        return core_schema.with_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 1}, handler(schema)]}


MetricRef = Annotated[Name, AfterValidator(_look_up)]
FunctionRef = Annotated[Reference, AfterValidator(_import)]
