"""The setting ``resume``: from which checkpoint a run continues, and which parts of it are restored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ..errors import PolicyError
from ..policy.spelling import near
from ..store.paths import expanded
from .problems import choices, problem, received

_WORDS = ("auto", "never")
_PATH = r"[/.~$\\]"  # a file without any of these is in the current folder, and has no suffix


def split_resume(
    name: str, resume: Mapping[str, bool] | str | PathLike[str] | None, default: str
) -> tuple[Mapping[str, bool], str]:
    """Return which parts of a checkpoint a callback restores, and from where.

    Args:
        name: The callback's name in error messages.
        resume: See `Settings.resume`.
        default: What None means: ``auto`` or ``never``.

    Raises:
        PolicyError: It is a word that is no file, or a URL.
    """
    if isinstance(resume, Mapping):
        return resume, "auto"
    return {}, default if resume is None else _place(f"{name}: resume", resume)


def _place(what: str, resume: str | PathLike[str]) -> str:
    """Return ``auto``, ``never`` or a path without ``~`` and variables."""
    found = expanded(what, resume)
    is_word = isinstance(resume, str) and not os.path.dirname(resume) and found.name == str(found)
    if is_word and not found.suffix and resume not in _WORDS and not found.is_file():
        raise PolicyError(
            f"{what} is {resume!r}; expected 'auto', 'never' or the path of a "
            f"checkpoint{near(str(found).lower(), _WORDS)}"
        )
    return str(found)


class OrPlace:
    """Annotation of the mapping of the parts; in its place, a file may hold a word or a path."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, parts: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(raw, dict):
                return parts(raw)
            if not isinstance(raw, str):
                raise problem(
                    f"got {received(raw)}; expected auto, never, the path of a checkpoint, or a mapping with one of "
                    f"{choices(source)}"
                )
            try:
                _place("resume", raw)
            except PolicyError as error:
                raise problem(str(error).replace("resume is", "got", 1)) from None
            return raw

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(_WORDS)}, {"type": "string", "pattern": _PATH}, handler(schema)]}
