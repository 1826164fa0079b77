"""The mirrors in a file: a URL, or a mapping; one of them, or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    with_config,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import NotRequired, TypedDict

from ..errors import ConfigError, PolicyError
from ..policy.metric import Metric
from ..policy.mirror import Mirror, same_place
from ..policy.policy import Policy
from ..policy.retention import AnyKeep, Retention
from .annotations import FIELDS, NOT_EMPTY, OneOrMore, build, combine_with, nullable
from .problems import choices, describe, problem
from .references import Reading
from .rule_contents import AnyContents
from .rule_types import MirrorRetentions
from .scalars import Rate, Wait
from .short_form import SHORT

_KEEP = "keep"  # in a mirror, what stays there
_RULES = ("metrics", "save", _KEEP, "stop", "best_by")
_NULLABLE = (_KEEP, "contents", "max_upload_rate", "storage_options")


class _OrUrl:
    """Annotation of the mapping; in its place, a file may hold the URL alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: ValidatorFunctionWrapHandler) -> Any:
            if isinstance(raw, str):
                return mapping({"url": raw})
            if not isinstance(raw, dict):
                got = "nothing" if raw is None else "a list" if isinstance(raw, list) else repr(raw)
                raise problem(f"got {got}; expected a URL or a path, or a mapping with {choices(source)}")
            return mapping({name: value for name, value in raw.items() if value is not None or name not in _NULLABLE})

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": r"\S"}, handler(schema)]}


class _Unshown:
    """Annotation of a mapping of which no message shows a part, because it may be a secret."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, mapping: ValidatorFunctionWrapHandler) -> Any:
            if not isinstance(raw, dict) or not all(isinstance(name, str) and name for name in raw):
                got = "a name that is no text" if isinstance(raw, dict) else f"a value of the type {type(raw).__name__}"
                raise problem(f"got {got}; expected a mapping of names to values")
            return mapping(raw)

        return core_schema.no_info_wrap_validator_function(read, handler(source))


@with_config(nullable(*_NULLABLE))
class MirrorNode(TypedDict):
    """A place elsewhere that receives the checkpoints of the run."""

    url: Annotated[str, NOT_EMPTY]
    keep: NotRequired[Annotated[MirrorRetentions, combine_with(AnyKeep)]]
    contents: NotRequired[AnyContents]
    every: NotRequired[Wait]
    max_upload_rate: NotRequired[Rate]
    storage_options: NotRequired[Annotated[dict[str, Any], _Unshown()]]


def _distinct(mirrors: list[Mirror]) -> tuple[Mirror, ...]:
    if same := same_place(mirrors):
        raise problem(same)
    return tuple(mirrors)


def _with_best(raw: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    reading = Reading.of(info)
    reading.best = _best_of(info.data, reading.given)
    return handler(raw)


def _best_of(read: Mapping[str, Any], given: Sequence[object]) -> Metric | None:
    """Return the metric that decides which checkpoint is best, from the parts of a file that have been read."""
    unread = [name for name in (*_RULES, *SHORT) if name in given and name not in read]
    if unread:  # a wrong part counts as one mistake
        return Metric("unknown", mode="min")
    try:
        if "save" in read:
            return Policy(**{name: read[name] for name in _RULES if name in read and name != "metrics"}).best_metric
        return Policy.default(**{name: read[name] for name in SHORT if name in read}).best_metric
    except (PolicyError, TypeError):
        return Metric("unknown", mode="min")  # which is another mistake


Mirrors = Annotated[
    list[Annotated[MirrorNode, build(Mirror), _OrUrl()]],
    OneOrMore(),
    AfterValidator(_distinct),
    WrapValidator(_with_best),
]


@with_config(FIELDS)
class _Kept(TypedDict):
    keep: Annotated[MirrorRetentions, combine_with(AnyKeep)]


_KEPT: TypeAdapter[Any] = TypeAdapter(_Kept)


def read_rules(where: str, rules: Any, policy: Policy) -> Retention:
    """Return the rule that the plain values of a mirror's ``keep`` describe.

    Args:
        where: The mirror in the messages, such as ``KerasCheckpoint: mirrors[0]``.
        rules: The plain values.
        policy: The policy of the run, whose metrics the rules may name as they are logged.

    Raises:
        ConfigError: They are wrong; one line for each mistake.
    """
    parsed = {_KEEP: rules}
    metrics = {metric.name: metric for metric in policy.tracks}
    try:
        found = _KEPT.validate_python(parsed, context=Reading(False, metrics=metrics, best=policy.best_metric))
    except ValidationError as error:
        raise ConfigError([f"{where}.{line}" for line in describe(error, parsed, _Kept)]) from None
    kept: Retention = found[_KEEP]
    return kept
