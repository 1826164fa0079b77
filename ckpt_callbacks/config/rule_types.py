"""The pydantic types of the rules in a file, made from the tables of `rule_names`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import Field, with_config
from typing_extensions import TypedDict

from .annotations import FIELDS, OneOf, OneOrMore, OrDuration, build, one_field
from .problems import BESIDE_A_RULE
from .references import OrNumber
from .rule_contents import ContentsNode
from .rule_names import RETENTIONS, SMOOTHINGS, STOPPINGS, TRIGGERS, Fields, Rule

_WITHOUT_NUMBERS = tuple(dataclasses.replace(rule, or_number=False) for rule in RETENTIONS)
_ANY_OF_THEM = "One rule; what any rule keeps survives."


@cache  # two rules may have the same fields
def _shape(fields: Fields, beside: str | None = None) -> Any:
    """Return the pydantic type of a mapping with these fields, of which one may stand beside the only other one."""
    shape = TypedDict(fields.title, fields.types, total=not fields.one)  # type: ignore[misc]
    shape.__doc__ = fields.description
    return with_config(one_field(beside) if fields.one else FIELDS)(shape)


def _one_of(title: str, description: str | None, rules: Sequence[Rule], beside: str | None = None, **more: Any) -> Any:
    """Return the pydantic type of one rule of a table.

    Args:
        title: Its title in the JSON schema.
        description: Its description in the JSON schema.
        rules: The table.
        beside: The field that may stand beside the name of the rule.
        more: The type of that field.
    """

    def type_of(rule: Rule) -> Any:
        value = _shape(rule.value) if isinstance(rule.value, Fields) else rule.value
        value = Annotated[value, OrDuration()] if rule.or_duration else value
        value = Annotated[value, OrNumber()] if rule.or_number else value
        return Annotated[value, build(rule.kind, rule.renamed)]

    fields = Fields(title, description, one=True, **{rule.name: type_of(rule) for rule in rules}, **more)
    alone = [rule.name for rule in rules if rule.value is None]
    return Annotated[_shape(fields, beside), OneOf(*alone, listed=rules is not SMOOTHINGS, beside=beside)]


def _retention(title: str, rules: Sequence[Rule]) -> Any:
    return _one_of(title, _ANY_OF_THEM, rules, BESIDE_A_RULE, **{BESIDE_A_RULE: ContentsNode})


_Trigger = _one_of("TriggerNode", None, TRIGGERS)
_Retention = _retention("RetentionNode", _WITHOUT_NUMBERS)
_MirroredRetention = _retention("MirrorRetentionNode", RETENTIONS)
_Stopping = _one_of("StoppingNode", "One rule; training stops when any rule says so.", STOPPINGS)

Triggers = Annotated[list[_Trigger], Field(min_length=1), OneOrMore()]  # type: ignore[valid-type]
Retentions = Annotated[list[_Retention], Field(min_length=1), OneOrMore()]  # type: ignore[valid-type]
MirrorRetentions = Annotated[list[_MirroredRetention], Field(min_length=1), OneOrMore()]  # type: ignore[valid-type]
Stoppings = Annotated[list[_Stopping], Field(min_length=1), OneOrMore()]  # type: ignore[valid-type]
SmoothingRule = _one_of("SmoothingNode", "The smoothing of a metric before it is compared.", SMOOTHINGS)
