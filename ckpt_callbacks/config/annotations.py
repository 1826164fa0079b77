"""Annotations for the pydantic types of the file: they say how each part of it becomes a policy value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ..errors import PolicyError
from ..policy.intervals import seconds_of
from ..policy.metric import UnknownDirection
from ..units import DURATION_PATTERN
from .problems import choices, problem, received

# Strict: a boolean is not a number, and "5" is not 5.
FIELDS = ConfigDict(extra="forbid", strict=True)


NOT_EMPTY = Field(json_schema_extra={"pattern": r"\S"})  # of a text; for the JSON schema only


def nullable(*names: str) -> ConfigDict:
    """Return the configuration of a mapping whose JSON schema also accepts null in these fields."""

    def accept_null(schema: dict[str, Any]) -> None:
        properties = schema["properties"]
        for name in names:
            kinds = [properties[name]] if name in properties else []
            properties[name] = {"anyOf": [*kinds, {"type": "null"}]}

    return ConfigDict(**FIELDS, json_schema_extra=accept_null)


def one_field(beside: str | None = None) -> ConfigDict:
    """Return the configuration of a mapping that has one field, and perhaps another one beside it."""
    one: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}
    if beside is not None:
        two = {"required": [beside], "minProperties": 2, "maxProperties": 2}
        one = {"anyOf": [{**one, "not": {"required": [beside]}}, two]}
    return ConfigDict(**FIELDS, json_schema_extra=one)


def build(kind: Callable[..., Any], renamed: Mapping[str, str] = MappingProxyType({})) -> AfterValidator:
    """Return an annotation that builds a ``kind`` from a mapping's fields, from a single value, or from nothing.

    Args:
        kind: The class of the policy value.
        renamed: Maps the name of a field in the file to the name of the argument of ``kind``, if the two differ.
    """

    def built(given: Any) -> Any:
        try:
            if given is None:
                return kind()
            if isinstance(given, dict):
                return kind(**{renamed.get(name, name): value for name, value in given.items()})
            return kind(given)
        except UnknownDirection as error:
            raise problem(error.in_yaml) from None
        except PolicyError as error:
            raise problem(str(error).removeprefix(f"{kind.__name__}: ")) from None  # the path names the rule

    return AfterValidator(built)


def combine_with(group: Callable[..., Any]) -> AfterValidator:
    """Return an annotation that builds a ``group`` from a list; a single item stays as it is."""
    return AfterValidator(lambda items: items[0] if len(items) == 1 else group(items))


class OneOrMore:
    """Annotation of a list; a single item is read as a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda raw: raw if isinstance(raw, list) else [raw], handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


class OneOf:
    """Annotation of a mapping that has exactly one field and becomes its value.

    Args:
        alone: The fields without a value, of which the file holds only the name.
        listed: Whether the file may hold a list of such mappings.
        beside: A field that may stand beside the one, and with which that one's value is copied.
    """

    def __init__(self, *alone: str, listed: bool = False, beside: str | None = None) -> None:
        self.alone, self.listed, self.beside = alone, listed, beside

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def as_mapping(raw: Any) -> Any:
            return {raw: None} if isinstance(raw, str) else raw

        def only_value(given: dict[str, Any]) -> Any:
            more = {name: value for name, value in given.items() if name == self.beside}
            given = {name: value for name, value in given.items() if name != self.beside}
            if len(given) != 1:
                hint = f"; for several, write a list: {self._as_list(given)}" if self.listed and len(given) > 1 else ""
                found = ", ".join((*given, *more)) or "no field"
                raise problem(f"got {found}; expected exactly one of {choices(source, but=self.beside)}{hint}")
            value = next(iter(given.values()))
            return dataclasses.replace(value, **more) if more else value

        mapping = core_schema.no_info_before_validator_function(as_mapping, handler(source))
        return core_schema.no_info_after_validator_function(only_value, mapping)

    def _as_list(self, names: Iterable[str]) -> str:
        return f"[{', '.join(name if name in self.alone else f'{{{name}: ...}}' for name in names)}]"

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        mapping = handler(schema)
        return {"anyOf": [{"enum": list(self.alone)}, mapping]} if self.alone else mapping


class OrDuration:
    """Annotation of a mapping of intervals; in its place, a file may hold a duration, such as ``20 min``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(raw, dict):
                return mapping(raw)
            if isinstance(raw, str) and seconds_of(raw) is not None:
                return raw
            one_of = "" if source.__required_keys__ else "one of "
            raise problem(
                f"got {received(raw)}; expected a duration, such as 20 min, or a mapping with {one_of}{choices(source)}"
            )

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, handler(schema)]}
