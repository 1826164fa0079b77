"""What all benchmarks share: seconds, CPU seconds, memory, spreads, targets and tables."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

MB = 10**6


@dataclass(frozen=True)
class Spread:
    """Median and range of what was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises `statistics.StatisticsError` when there are no values."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True)
class Table:
    """One table of results.

    Attributes:
        title: What it shows.
        columns: Their headings, with units.
        rows: Cells: text, numbers, `Spread` or None for what was not measured.
        notes: Sentences below the table.
        command: What prints this table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()
    command: str = ""

    def markdown(self) -> str:
        """The table with its title, ending in an empty line."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.title}: a row has {len(row)} cells, there are {len(self.columns)} columns: {row}"
                )
        cells = [list(self.columns), *[[cell(value) for value in row] for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        head = [f"## {self.title}", ""] + ([f"`{self.command}`", ""] if self.command else [])
        notes = [""] + [f"- {note}" for note in self.notes] if self.notes else []
        return "\n".join([*head, *lines, *notes, "", ""])

    def called(self, command: str) -> Table:
        """The same table, with the command that prints it."""
        return replace(self, command=command)


def number(value: float) -> str:
    """Three significant digits without an exponent: 0.00123, 0.0456, 12.3, 4560."""
    if value == 0 or value != value or value in (float("inf"), float("-inf")):
        return f"{value:g}"
    text = f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")
    return text if text not in ("0", "-0") else f"{value:.1g}"


def cell(value: object) -> str:
    """A value as the text of a table's cell."""
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value).replace("|", "/")


def ratio(value: float | None, to: float | None) -> float | None:
    """``value / to``, or None where either was not measured."""
    return value / to if value is not None and to else None


@dataclass(frozen=True)
class Target:
    """What a figure has to reach.

    Attributes:
        what: The figure, in words.
        measured: The figure, or None when it was not measured.
        bound: What it may be at most, or with ``at_least`` what it must be at least.
    """

    what: str
    measured: float | None
    bound: float
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "met" if met else "MISSED"

    @staticmethod
    def table(title: str, targets: Sequence[Target], notes: Sequence[str] = ()) -> Table:
        """All targets, met or missed."""
        rows = [
            (t.what, t.measured, f"{'at least' if t.at_least else 'at most'} {number(t.bound)}", t.verdict)
            for t in targets
        ]
        return Table(title, ("", "measured", "target", ""), rows, notes)


# -- memory ----------------------------------------------------------------------------------------------------------


def _status_bytes(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(field + ":")]
    return int(found[0]) * 1024 if found else None


def resident() -> int | None:
    """Bytes of memory that this process holds now; None where the system does not say."""
    return _status_bytes("VmRSS")


def forget_peak() -> None:
    """Let `peak` count from now on."""
    with contextlib.suppress(OSError):  # `peak` then counts from the process's start, which only makes it larger
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int | None:
    """The most bytes of memory that this process held since `forget_peak`."""
    return _status_bytes("VmHWM")


# -- files -----------------------------------------------------------------------------------------------------------


def force_to_disk(folder: Path) -> None:
    """fsync of every file below a folder, and of its directories."""
    for place, _, names in os.walk(folder):
        for path in [place, *[os.path.join(place, name) for name in names]]:
            if not os.path.islink(path):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def drop_from_cache(path: Path) -> None:
    """Make the next reader of a file, or of the files below a folder, go to the disk."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # only clean pages can be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


# -- the machine -----------------------------------------------------------------------------------------------------


def _first_line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def _file_system(folder: Path) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return "unknown"
    place = str(folder.resolve())
    holding = [m for m in mounts if place == m[4] or place.startswith(m[4].rstrip("/") + "/")]
    found = max(holding, key=lambda m: len(m[4]))
    return found[found.index("-") + 1]


def _version(package: str) -> str | None:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return None


PACKAGES = (
    "torch", "lightning", "keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "h5py", "isal", "safetensors",
    "pytorch-ignite", "orbax-checkpoint",
)  # fmt: skip


def machine(folder: Path) -> Table:
    """What the figures were measured on; ``folder`` is where the files went. Names neither hosts nor paths."""
    memory = _first_line("/proc/meminfo", "MemTotal").split()[0]
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    facts = [
        ("cores", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        ("processor", _first_line("/proc/cpuinfo", "model name")),
        ("memory", f"{int(memory) * 1024 / 1e9:.0f} GB" if memory.isdigit() else "unknown"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system", _file_system(folder)),
        ("huge pages", pages.read_text().strip() if pages.exists() else "unknown"),
        ("load at the start", f"{os.getloadavg()[0]:.1f} processes"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(filter(None, map(_version, PACKAGES)))),
    ]
    return Table("The machine", ("", ""), facts)


def spread(results: Iterable[Mapping[str, float | None]], key: str) -> Spread | None:
    """Spread of one figure over measurements, or None when no measurement has it."""
    values = [result[key] for result in results if result.get(key) is not None]
    return Spread.of(values) if values else None
