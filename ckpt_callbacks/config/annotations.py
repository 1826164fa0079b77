"""How a part of the file becomes a value: annotations for the pydantic types of `document`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import AfterValidator, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ..errors import PolicyError
from .problems import choices, problem

# Strict: a boolean is no number, and "5" is no 5.
FIELDS = ConfigDict(extra="forbid", strict=True)
ONE_FIELD = ConfigDict(**FIELDS, json_schema_extra={"minProperties": 1, "maxProperties": 1})


def becomes(kind: Callable[..., Any], **renamed: str) -> AfterValidator:
    """Makes a ``kind`` of what was read: of a mapping's fields, of a single value, or of nothing.

    Args:
        kind: The policy value. renamed: field of the file → argument of ``kind``, where the two differ.
    """

    def build(given: Any) -> Any:
        try:
            if given is None:
                return kind()
            if isinstance(given, dict):
                return kind(**{renamed.get(name, name): value for name, value in given.items()})
            return kind(given)
        except PolicyError as error:
            raise problem(str(error).removeprefix(f"{kind.__name__}: ")) from None  # the path says that already

    return AfterValidator(build)


def joined_by(group: Callable[..., Any]) -> AfterValidator:
    """Makes a ``group`` of a list's items; one item stays as it is."""
    return AfterValidator(lambda items: items[0] if len(items) == 1 else group(items))


class OneOrMore:
    """For a list: a single item stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda raw: raw if isinstance(raw, list) else [raw], handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


class OneOf:
    """For a mapping: it has exactly one field, and becomes its value.

    Args:
        alone: Fields without a value, whose name may stand alone.
    """

    def __init__(self, *alone: str) -> None:
        self.alone = alone

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def as_mapping(raw: Any) -> Any:
            return {raw: None} if isinstance(raw, str) else raw

        def only_value(given: dict[str, Any]) -> Any:
            if len(given) != 1:
                raise problem(f"got {', '.join(given) or 'no field'}; expected exactly one of {choices(source)}")
            return next(iter(given.values()))

        mapping = core_schema.no_info_before_validator_function(as_mapping, handler(source))
        return core_schema.no_info_after_validator_function(only_value, mapping)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        mapping = handler(schema)
        return {"anyOf": [{"enum": list(self.alone)}, mapping]} if self.alone else mapping
