"""The contents of a retention rule in a file: a word, or a mapping."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, with_config
from pydantic_core import CoreSchema, core_schema
from typing_extensions import NotRequired, TypedDict

from ..policy.contents import KINDS, Contents
from ..policy.retention import Retention
from ..policy.spelling import near
from .annotations import FIELDS, build
from .problems import BESIDE_A_RULE, problem, received


def written_beside(rule: object) -> dict[str, Any]:
    """Return the field that stands beside a rule's name in a file; empty if there is none."""
    needs = rule.needs() if isinstance(rule, Retention) else None
    return {} if needs is None else {BESIDE_A_RULE: needs.kind}


class _OrKind:
    """Annotation of the mapping; in its place, a file may hold the kind alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(raw, dict):
                return mapping(raw)
            if raw not in KINDS:
                expected = f"{' or '.join(KINDS)}, or a mapping with kind{near(raw, KINDS)}"
                raise problem(f"got {received(raw)}; expected {expected}")
            return Contents(raw)

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(KINDS)}, handler(schema)]}


@with_config(FIELDS)
class _Node(TypedDict):
    """What a retention rule needs of the checkpoints that it keeps."""

    kind: NotRequired[Literal["full", "weights"]]


ContentsNode = NotRequired[Annotated[_Node, build(Contents), _OrKind()]]
