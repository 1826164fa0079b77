"""The speed of a mirror in a bucket, and the cost of one that hangs.

    python -m benchmarks.mirrors [--quick]

The bucket is SeaweedFS on loopback, whose data and metadata are in memory if possible. The subjects take turns in one
process: what a run sends to a mirror (with the digest of the file, the checks and the entry) and a bare
`obstore.put` of the same file; what a resume downloads (with the digest) and a bare `obstore.get` into a file; and
Lightning's own `save_checkpoint` to ``s3://``. A store that hangs is a port that accepts connections, and answers
nothing.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from . import engines
from .mirroring import (
    BARE_DOWN,
    BARE_UP,
    FSSPEC_UP,
    GRACE,
    HANGING,
    OURS_DOWN,
    OURS_UP,
    WITHOUT,
    bucket,
    hanging,
    lightning_saves,
    say,
    speeds,
)
from .report import MB, Spread, Table, Target, ratio
from .subject import NotInstalled

BARE, LIGHTNING = "bucket", engines.LIGHTNING
MEMORY = 128  # MB


def engine(name: str, quick: bool) -> None:
    """Measure one part."""
    size, rounds = (32 << 20, 1) if quick else (512 << 20, 5)
    with engines.scratch() as scratch:
        folder = Path(scratch)
        try:
            with bucket() as (url, options):
                (speeds if name == BARE else lightning_saves)(folder, url, options, size, rounds)
        except NotInstalled as error:
            say(name=OURS_UP if name == BARE else FSSPEC_UP, missing=str(error))
        if name == LIGHTNING:
            hanging(folder, 3 if quick else 60, 1 if quick else 3)


def tables(quick: bool) -> list[Table]:
    """Measure, and return the tables."""
    found = engines.run("mirrors", (BARE, LIGHTNING), *(["--quick"] if quick else []))
    notes = [f"{row['name']}: not installed: {row['missing']}" for row in found if "missing" in row]

    def of(engine: str, name: str, key: str) -> list[float]:
        return [row[key] for row in found if (row["engine"], row["name"]) == (engine, name) and key in row]

    def spread(engine: str, name: str, key: str) -> Spread | None:
        values = of(engine, name, key)
        return Spread.of(values) if values else None

    def middle(engine: str, name: str, key: str) -> float | None:
        values = of(engine, name, key)
        return statistics.median(values) if values else None

    speeds_, hangs = [], []
    for place, names in ((BARE, (OURS_UP, BARE_UP, OURS_DOWN, BARE_DOWN)), (LIGHTNING, (OURS_UP, FSSPEC_UP))):
        for name in names:
            rates = [row["size"] / row["seconds"] / MB for row in found
                     if (row["engine"], row["name"]) == (place, name) and "seconds" in row]  # fmt: skip
            where = "with Lightning loaded" if place == LIGHTNING else ""
            speeds_.append((name, where, Spread.of(rates) if rates else None, spread(place, name, "memory")))
    for name in (WITHOUT, HANGING):
        keys = ("steps", "saves", "gap", "end", "exit")
        hangs.append((name, *(spread(LIGHTNING, name, key) for key in keys)))

    def faster(engine: str, ours: str, theirs: str) -> float | None:
        return ratio(middle(engine, theirs, "seconds"), middle(engine, ours, "seconds"))

    def compared(key: str) -> float | None:
        return ratio(middle(LIGHTNING, HANGING, key), middle(LIGHTNING, WITHOUT, key))

    late = None
    if (gap := middle(LIGHTNING, HANGING, "gap")) is not None:
        late = gap - (middle(LIGHTNING, WITHOUT, "gap") or 0.0)
    targets = [
        Target("Mirrors: speed of an upload ÷ obstore.put", faster(BARE, OURS_UP, BARE_UP), 0.95, at_least=True),
        Target("Mirrors: speed of an upload ÷ Lightning's", faster(LIGHTNING, OURS_UP, FSSPEC_UP), 2, at_least=True),
        Target("Mirrors: more memory of an upload, MB", max(of(BARE, OURS_UP, "memory"), default=None), MEMORY),
        Target("Mirrors: speed of a download ÷ obstore.get", faster(BARE, OURS_DOWN, BARE_DOWN), 0.9, at_least=True),
        Target("Mirrors: steps/s, a mirror that hangs ÷ none", compared("steps"), 0.98, at_least=True),
        Target("Mirrors: saves, a mirror that hangs ÷ none", compared("saves"), 0.98, at_least=True),
        Target("Mirrors: seconds that the latest save is later, a mirror that hangs", late, 0.2),
        Target("Mirrors: seconds from the last step to the end of fit, a mirror that hangs",
               middle(LIGHTNING, HANGING, "end"), GRACE),
        Target("Mirrors: seconds from a signal to the end of the process, a mirror that hangs",
               middle(LIGHTNING, HANGING, "exit"), GRACE),
    ]  # fmt: skip
    return [
        Table("Mirrors: speed", ("", "", "MB/s", "more memory MB"), speeds_, notes),
        Table(
            "Mirrors: a store that hangs",
            ("", "steps/s", "saves", "longest s between saves", "s to the end of fit", "s from SIGTERM to exit"), hangs,
            [f"A save each second; `grace` is {GRACE:g} s, of which the mirrors have a half after a signal."],
        ),
        Target.table("Mirrors: targets", targets),
    ]  # fmt: skip


if __name__ == "__main__":
    engines.script(__file__, __doc__, tables, engine)
