"""YAML text to plain values and back. YAML 1.2: ``1e-4`` is a number and ``on`` is text."""

from __future__ import annotations

import io
import re
from os import PathLike
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.representer import RepresenterError, SafeRepresenter

from ..errors import ConfigError, PolicyError
from ..store.file_kind import endless_kind
from ..store.paths import expanded

_WIDTH = 120
_LONGEST = 40  # characters of a wrong value that an error shows
_BARE_TEMPLATE = re.compile(r"\s*(filename|dirpath)\s*:\s*(\{.*)")
_MAY_BE_SECRET = "storage_options"  # whatever comes after it in a file
_QUOTES = re.compile(r"""(['"]).*\1""", re.DOTALL)
_WORD = re.compile(r"\w[\w./-]*")


class _Constructor(SafeConstructor):
    """A constructor that collects all duplicate keys, and gives each error its place.

    The base class raises an error at the first duplicate key, and errors without a place for values that no type can
    hold, such as ``!!bool perhaps`` or a number of 5,000 digits.
    """

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int):
                str(made)  # a long number in hexadecimal digits has no decimal ones, which messages and journals need
            return made
        except (YAMLError, RecursionError):
            raise
        except Exception as error:  # whatever a type raises for a text that it cannot hold
            text = shown if len(shown := str(node.value)) <= _LONGEST else f"{shown[:_LONGEST]}..."
            kind = str(node.tag).rpartition(":")[2]
            raise ConstructorError(None, None, f"{text!r} is not a valid {kind}", node.start_mark) from error

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        if key not in mapping:
            return True
        self.loader.duplicates.append(f"{_place(key_node.start_mark)}: duplicate key {key!r}; expected each key once")
        return False


class _Representer(SafeRepresenter):
    """A representer without anchors, which repeats a part in full and quotes all text except simple words."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        # The base class leaves text such as ?0 unquoted, which does not read back as text inside a list.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if _WORD.fullmatch(data) else '"')


_Representer.add_representer(str, _Representer.represent_str)


class _Yaml(YAML):
    def __init__(self) -> None:
        super().__init__(typ="safe", pure=True)  # pure, because the C parser supports YAML 1.1 only
        self.Constructor, self.Representer = _Constructor, _Representer
        self.duplicates: list[str] = []
        self.default_flow_style = None  # innermost lists and mappings on one line
        self.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        self.allow_unicode, self.width = True, _WIDTH


def read(path: str | PathLike[str]) -> tuple[Any, list[str]]:
    """Return the content of a YAML file, and one line for each duplicate key.

    Raises:
        ConfigError: The file cannot be read, or is not YAML.
    """
    yaml = _Yaml()
    try:
        found = expanded("the path", path)
        if kind := endless_kind(found):  # nobody may ever write into a pipe, and a device may never end
            raise ConfigError([f"{path}: is {kind}; expected a YAML file"])
        text = found.read_text(encoding="utf-8")
        return yaml.load(text), yaml.duplicates
    except PolicyError as error:
        problem = f"cannot be read: {error}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8; expected a text file"
    except MarkedYAMLError as error:
        why = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        problem = f"{_place(mark)}: {_without_secrets(why, text, mark)}{_quoted(text, mark)}"
    except RecursionError:
        problem = "is nested too deeply"
    except YAMLError as error:
        problem = str(error)
    raise ConfigError([f"{path or repr(path)}: {' '.join(problem.split())}"])


def dump(value: Any) -> str:
    """Return ``value`` as YAML text.

    Raises:
        PolicyError: It holds something other than plain values.
    """
    stream = io.StringIO()
    try:
        _Yaml().dump(value, stream)
    except RepresenterError as error:
        why = " ".join(str(error).split())
        raise PolicyError(f"cannot be written as YAML: {why}; expected text, numbers, lists and mappings") from None
    return stream.getvalue()


def _quoted(text: str, mark: StreamMark) -> str:
    """Return a hint if the line of a mistake has a template, such as a file name, that YAML takes for a mapping."""
    found = _BARE_TEMPLATE.match("".join(text.splitlines()[mark.line : mark.line + 1]))
    return f'; quote it: {found[1]}: "{found[2].strip()}"' if found else ""


def _without_secrets(why: str, text: str, mark: StreamMark) -> str:
    """Return a message without the words that it quotes, if they may be a password that is not quoted in the file."""
    return _QUOTES.sub("...", why) if _MAY_BE_SECRET in text[: mark.index] else why


def _place(mark: StreamMark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
