"""The contents of checkpoints in a file: a word, or a mapping."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, with_config
from pydantic_core import CoreSchema, core_schema
from typing_extensions import NotRequired, TypedDict

from ..policy.contents import KINDS, Contents
from ..policy.retention import Retention
from ..policy.shards import Shards
from ..policy.spelling import near
from .annotations import FIELDS, OneOrMore, build
from .problems import BESIDE_A_RULE, choices, problem, received
from .scalars import Size


def written_beside(rule: object) -> dict[str, Any]:
    """Return the field that stands beside a rule's name in a file; empty if there is none."""
    needs = rule.needs() if isinstance(rule, Retention) else None
    return {} if needs is None else {BESIDE_A_RULE: written_contents(needs)}


def written_contents(needs: Contents) -> str | dict[str, Any]:
    """Return the plain form of contents: the kind, or a mapping."""
    given = {f.name: getattr(needs, f.name) for f in fields(needs) if getattr(needs, f.name) != f.default}
    plain = {name: _plain(value) for name, value in given.items()}
    return needs.kind if needs == Contents(needs.kind) else {"kind": needs.kind, **plain}


PLAIN_FORMS = {Contents: written_contents}  # of values that are no rule, by their class


def _plain(value: object) -> object:
    return value.as_mapping() if isinstance(value, Shards) else list(value) if isinstance(value, tuple) else value


class _OrKind:
    """Annotation of the mapping; in its place, a file may hold the kind alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(raw, dict):
                return mapping({name: value for name, value in raw.items() if value is not None or name == "kind"})
            if not isinstance(raw, str) or raw not in KINDS:
                expected = f"{' or '.join(KINDS)}, or a mapping with {choices(source)}{near(raw, KINDS)}"
                raise problem(f"got {received(raw)}; expected {expected}")
            return Contents(raw)

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(KINDS)}, handler(schema)]}


@with_config(FIELDS)
class _Shards(TypedDict):
    """The files into which a larger one is split."""

    max_size: Size


@with_config(FIELDS)
class _Node(TypedDict):
    """What checkpoints hold, or what a retention rule needs of those that it keeps."""

    kind: NotRequired[Literal["full", "weights"]]
    dtype: NotRequired[Literal["fp32", "bf16", "fp16", "int8", "int4"]]
    drop: NotRequired[Annotated[list[str], OneOrMore()]]
    reference: NotRequired[str]
    compression: NotRequired[Literal["auto", "zstd", "none"]]
    source: NotRequired[Literal["model", "ema", "swa"]]
    weights: NotRequired[Literal["all", "trainable"]]
    shards: NotRequired[_Shards]


AnyContents = Annotated[_Node, build(Contents), _OrKind()]
ContentsNode = NotRequired[AnyContents]
