"""The recipes of CONTRIBUTING.md, read from it as edits of files."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "CONTRIBUTING.md"
_STEP = re.compile(r"^\d+\. `(?P<file>[^`]+)`")
_PLACE = re.compile(r"(?P<place>new file|at the end|after|before|instead of)(?: `(?P<anchor>[^`]+)`)?:$")
_FENCE = re.compile(r"^ *```")


@dataclass(frozen=True)
class Edit:
    """One code block of a recipe, and where it goes.

    Attributes:
        file: The file, from the package's folder.
        place: ``new file``, ``at the end``, ``after``, ``before`` or ``instead of``.
        anchor: The beginning of the line that the last three places refer to.
        code: The block.
    """

    file: str
    place: str
    anchor: str | None
    code: str

    def apply(self, package: Path) -> None:
        """Edit the file in a copy of the package."""
        path = package / self.file
        if self.place == "new file":
            assert not path.exists(), f"{self.file} exists"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.code)
            return
        text = path.read_text()
        if self.place == "at the end":
            path.write_text(f"{text}\n\n{self.code}")
            return
        lines = text.splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        assert len(found) == 1, f"{self.file} has {len(found)} lines that begin with {self.anchor!r}"
        at, indent = found[0], re.match(" *", lines[found[0]])[0]
        gap = "\n\n" if re.match(r"@|def |class ", self.code) else ""  # two lines around what stands at the top level
        code = self.code + gap if self.place == "before" else self.code
        block = textwrap.indent(code, indent).splitlines(keepends=True)
        first, last = {"after": (at + 1, at + 1), "before": (at, at), "instead of": (at, at + 1)}[self.place]
        lines[first:last] = block
        path.write_text("".join(lines))


def recipes() -> dict[str, list[Edit]]:
    """Return the edits of each recipe by its title."""
    text = DOCUMENT.read_text()
    section = text[text.index("\n## Recipes\n") :]
    found = {}
    for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        found[title] = list(_edits(title, body.partition("\n## ")[0].splitlines()))
    return found


def _edits(title, lines):
    """Each block belongs to the last line before it that says where, and that to the last file that was named."""
    file, where, block = None, None, None
    for line in lines:
        if _FENCE.match(line):
            if block is None:
                block = []
                continue
            assert file and where, f"{title}: a code block that does not say where it goes"
            code = textwrap.dedent("".join(f"{line}\n" for line in block))
            yield Edit(file, where["place"], where["anchor"], code)
            where, block = None, None
        elif block is not None:
            block.append(line)
        else:
            if step := _STEP.match(line):
                file = step["file"]
            where = _PLACE.search(line) or where
    assert block is None and where is None, f"{title}: a place without a code block"
