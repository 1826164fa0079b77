"""The scalar values in a file: their types, and their names in error messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import NoneType
from typing import Annotated, Any, Literal, NewType, get_args, get_origin

from pydantic import AfterValidator, Field, SkipValidation

from ..errors import PolicyError
from ..policy.metric import Metric
from ..units import (
    DURATION,
    DURATION_PATTERN,
    MOMENT,
    POSITIVE_DURATION,
    RATE,
    RATE_PATTERN,
    SIZE,
    SIZE_PATTERN,
    as_bytes,
    as_rate,
    as_seconds,
    as_utc,
)

# The policy values check these bounds themselves. They are repeated here so that the JSON schema has them.
_Count = NewType("_Count", int)
_Index = NewType("_Index", int)
_Finite = NewType("_Finite", float)
_Positive = NewType("_Positive", float)
_Share = NewType("_Share", float)
_Delta = NewType("_Delta", float)
_Alpha = NewType("_Alpha", float)
_Version = NewType("_Version", int)
_Name = NewType("_Name", str)
_Tag = NewType("_Tag", str)
_Reference = NewType("_Reference", str)
_Pause = NewType("_Pause", float)
_BytesPerSecond = NewType("_BytesPerSecond", int)
_Monitor = str | list[str] | dict[str, float]
# A number or text. These types are for the JSON schema only; the conversions decide what is valid.
_Duration = Annotated[float, Field(gt=0)] | Annotated[str, Field(pattern=DURATION_PATTERN)]
_Wait = Annotated[_Pause, Field(ge=0)] | Annotated[str, Field(pattern=DURATION_PATTERN)]
_Size = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=SIZE_PATTERN)]
_Rate = Annotated[_BytesPerSecond, Field(ge=1)] | Annotated[str, Field(pattern=RATE_PATTERN)]
_Moment = Annotated[float, Field(gt=0)] | datetime

Count = Annotated[_Count, Field(ge=1)]
Index = Annotated[_Index, Field(ge=0)]
Finite = Annotated[_Finite, Field(allow_inf_nan=False)]
Positive = Annotated[_Positive, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[_Share, Field(gt=0, lt=1)]
Delta = Annotated[_Delta, Field(ge=0, allow_inf_nan=False)]
Alpha = Annotated[_Alpha, Field(gt=0, le=1)]
Version = Annotated[_Version, Field(ge=1, le=1)]
Name = Annotated[_Name, Field(min_length=1)]
Tag = Annotated[_Tag, Field(min_length=1)]
Reference = Annotated[_Reference, Field(pattern=r"^[^:]+:[^:]+$")]
Mode = Literal["min", "max", "auto"]


def _check_monitor(monitor: Any) -> Any:
    try:
        Metric(monitor, mode="min")
    except PolicyError as error:
        raise ValueError(str(error)) from None
    return monitor


# A union would report one mistake three times, once for each form.
Monitor = Annotated[SkipValidation[_Monitor], AfterValidator(_check_monitor)]


def _converted(convert: Callable[[object], Any]) -> AfterValidator:
    def build(given: object) -> Any:
        try:
            return convert(given)
        except PolicyError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(build)


Duration = Annotated[SkipValidation[_Duration], _converted(partial(as_seconds, positive=True))]
Wait = Annotated[SkipValidation[_Wait], _converted(as_seconds)]
Size = Annotated[SkipValidation[_Size], _converted(as_bytes)]
Rate = Annotated[SkipValidation[_Rate], _converted(as_rate)]
Moment = Annotated[SkipValidation[_Moment], _converted(as_utc)]

_CALLED = {
    str: "text",
    bool: "true or false",
    NoneType: "no value",
    _Count: "a whole number of at least 1",
    _Index: "a whole number of at least 0",
    _Finite: "a finite number",
    _Positive: "a positive number",
    _Share: "a share above 0 and below 1, such as 0.01",
    _Delta: "a finite number of at least 0",
    _Alpha: "a number above 0 and at most 1",
    _Version: "1",
    _Name: "the name of a metric",
    _Tag: "a tag, such as release",
    _Reference: "a function, such as pkg.mod:fn",
    _Monitor: "a metric's name, a list of names, or a mapping of names to weights",
    float | str: POSITIVE_DURATION,
    _Pause | str: DURATION,
    int | str: SIZE,
    _BytesPerSecond | str: RATE,
    float | datetime: MOMENT,
}


def called(wanted: object) -> str | None:
    """Return the name of a single value's type in error messages; None for a list or a mapping.

    Args:
        wanted: The type, without its `Annotated`.
    """
    if get_origin(wanted) is Literal and wanted not in _CALLED:
        return " or ".join(get_args(wanted))
    return _CALLED.get(wanted)
