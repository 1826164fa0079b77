"""The command ``ckpt explain``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CkptError, ConfigError, first_line
from ..record import CALLED
from ..store.file_kind import endless_kind
from .local_path import LocalPath
from .output import say

if TYPE_CHECKING:
    from ..config.meaning import Meaning
    from .explaining.call import Call
    from .explaining.explanation import Explanation

_CONFIGURATIONS = (".yaml", ".yml", ".json")


@click.command()
@click.argument("file", type=LocalPath(exists=True, dir_okay=False))
def explain(file: Path) -> None:
    """Print the policy that the checkpoint callbacks of a script mean.

    FILE is a Python script, which is read and not run, or a configuration in YAML, of LightningCLI or with `_target_`.
    For each ModelCheckpoint, BackupAndRestore and EarlyStopping of Lightning and Keras, and for LightningCheckpoint and
    KerasCheckpoint, prints the policy and the YAML that its arguments mean, and what the drop-in of this package does
    otherwise. The exit status is 1 if a callback refuses an argument, or if there is none.
    """
    from .explaining.explanation import explain as explained
    from .explaining.together import together

    found = [explained(call) for call in _calls(file)]
    for number, one in enumerate(found):
        if number:
            say("")
        _show(one)
    for members, meaning in together(found):
        say("")
        say(f"together: {', '.join(f'{one.call.name} ({_line_of(one, file)})' for one in members)}")
        for line in _lines(meaning):
            say(f"  {line}")
    if not found:
        say(
            f"{file}: constructs no ModelCheckpoint, BackupAndRestore, EarlyStopping, LightningCheckpoint or "
            f"KerasCheckpoint that can be recognized; expected the file that does{_hint(file)}",
            err=True,
        )
    if not found or any(one.problems for one in found):
        raise SystemExit(1)


def _calls(file: Path) -> list[Call]:
    """Return the callbacks of a file.

    Raises:
        ConfigError: It is neither a script nor a configuration, or has mistakes.
    """
    if kind := endless_kind(file):
        raise ConfigError([f"{file}: is {kind}; expected a Python script or a YAML file"])
    if file.suffix in _CONFIGURATIONS:
        from .explaining.document import calls_of_document  # here, because importing the YAML reader is slow

        return list(calls_of_document(file))
    if file.suffix == ".py":
        from .explaining.script import calls_of_script

        try:
            return list(calls_of_script(file))
        except RecursionError:
            raise ConfigError([f"{file}: is nested too deeply; expected a Python script"]) from None
    raise ConfigError([f"{file}: expected a Python script (.py) or a configuration ({', '.join(_CONFIGURATIONS)})"])


def _hint(file: Path) -> str:
    if file.suffix not in _CONFIGURATIONS:
        return ""
    from .explaining.document import is_policy  # here, because importing the YAML reader is slow

    return f"; this is a policy, which `ckpt check {file}` reads" if is_policy(file) else ""


def _show(one: Explanation) -> None:
    call = one.call
    say(f"{call.place}: {call.name}{'' if call.is_own else f' of {CALLED[call.room]}'}")
    for line in one.unread:
        say(f"  note: {line}")
    for problem in one.problems:
        say(f"{call.place}: {problem}", err=True)
    if one.meaning is not None:
        for line in _lines(one.meaning):
            say(f"  {line}")


def _lines(meaning: Meaning) -> Iterator[str]:
    yield f"policy: {meaning.policy!r}"
    yield "yaml:"
    try:
        yield from (f"  {line}" for line in meaning.to_yaml().splitlines())
    except CkptError as error:
        yield f"  # {first_line(error)}"
    yield from (f"note: {note}" for note in (*meaning.arguments, *meaning.notes))
    for one in meaning.differences:
        yield f"different: {one.name}: original: {one.original}; drop-in: {one.drop_in}"
    if meaning.general:
        yield f"different in any case: {', '.join(meaning.general)}; docs/drop-ins.md describes each"


def _line_of(one: Explanation, file: Path) -> str:
    return one.call.place.removeprefix(str(file)).lstrip(": ") or str(file)
