"""Which survive? Each rule counts by itself over all records; what any rule keeps survives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import PolicyError
from ..record import Record, Status
from .intervals import UNITS, check_interval
from .metric import Metric, best_record, check_count, check_metric
from .smoothing import exact

Kept = Iterator[tuple[Record, str]]


@dataclass(frozen=True)
class Plan:
    """What `plan` decided. ``keep`` and ``remove`` partition the records; ``reasons`` has an entry for each kept id."""

    keep: tuple[Record, ...]
    remove: tuple[Record, ...]
    reasons: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class Retention:
    """Base of all retention rules; they compose with ``|``."""

    def kept(self, records: Sequence[Record]) -> Kept:
        """The records that this rule keeps, with the reason. ``records`` are in the order of their ids."""
        raise NotImplementedError

    def parts(self) -> tuple[Retention, ...]:
        """The single rules."""
        return (self,)

    def __or__(self, other: Retention) -> AnyKeep:
        return AnyKeep((self, other)) if isinstance(other, Retention) else NotImplemented

    def __bool__(self) -> bool:
        raise PolicyError("a retention rule has no truth value: combine rules with |, not with `or`")


@dataclass(frozen=True)
class KeepAll(Retention):
    """Keep everything."""

    def kept(self, records: Sequence[Record]) -> Kept:
        return ((record, "all") for record in records)


@dataclass(frozen=True)
class KeepLast(Retention):
    """Keep the newest ``n``. Superseded records have the places that the line which goes on leaves free."""

    n: int = 1

    def __post_init__(self) -> None:
        check_count("KeepLast", "n", self.n)

    def kept(self, records: Sequence[Record]) -> Kept:
        newest = sorted(records, key=lambda record: (not record.superseded, record.id))[-self.n :]
        return ((record, f"last {self.n}") for record in newest)


@dataclass(frozen=True)
class KeepBest(Retention):
    """Keep the ``n`` best by a metric; records without a finite value of their own are not ranked."""

    n: int = 1
    by: Metric | None = None

    def __post_init__(self) -> None:
        check_count("KeepBest", "n", self.n)
        check_metric("KeepBest: by", self.by)

    def kept(self, records: Sequence[Record]) -> Kept:
        by = self.by
        assert by is not None  # see __post_init__
        ranks = [(rank, record) for record in records if (rank := by.rank(record)) is not None]
        best = [record for _, record in sorted(ranks, key=lambda pair: pair[0])[: self.n]]
        for place, record in enumerate(best, start=1):
            yield record, f"best {self.n} by {by.name} (#{place})"
        # Superseded records may fill all places; the best of the line that goes on stays beside them.
        live = best_record(records, by)
        if live is not None and live not in best:
            yield live, f"best by {by.name}"


@dataclass(frozen=True, repr=False)
class KeepEvery(Retention):
    """Keep the first record at or after each multiple of the interval. Exactly one interval is given.

    Args:
        epochs: Completed epochs. steps: optimizer updates. hours: training time.
    """

    epochs: int | None = None
    steps: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        check_interval("KeepEvery", vars(self), self._given)

    @property
    def _given(self) -> list[tuple[str, float]]:
        return [(name, value) for name, value in vars(self).items() if value is not None]

    def kept(self, records: Sequence[Record]) -> Kept:
        unit, n = self._given[0]
        buckets: dict[float, list[Record]] = defaultdict(list)
        for record in records:
            here = record.time / UNITS[unit] if unit in UNITS else record.epoch if unit == "epochs" else record.step
            buckets[here // n].append(record)
        for bucket, found in buckets.items():
            if bucket >= 1:
                # A run that went back and passes here again replaces what it left behind.
                first = min(found, key=lambda r: (r.superseded, r.step, r.id))
                yield first, f"every {exact(n)} {unit[:-1] if n == 1 else unit}"

    def __repr__(self) -> str:
        unit, n = self._given[0]
        return f"KeepEvery({unit}={exact(n)})"


@dataclass(frozen=True)
class KeepWithin(Retention):
    """Keep what is at most ``hours`` older than the newest record, so that time alone deletes nothing."""

    hours: float

    def __post_init__(self) -> None:
        check_interval("KeepWithin", vars(self), [("hours", self.hours)])

    def kept(self, records: Sequence[Record]) -> Kept:
        newest = max((record.wall for record in records), default=0.0)
        return ((r, f"within {exact(self.hours)} h") for r in records if r.wall >= newest - self.hours * 3600)


@dataclass(frozen=True)
class KeepTagged(Retention):
    """Keep what carries the tag."""

    tag: str

    def __post_init__(self) -> None:
        if not isinstance(self.tag, str) or not self.tag:
            raise PolicyError(f"KeepTagged: tag is {self.tag!r}; expected a name, such as 'release'")

    def kept(self, records: Sequence[Record]) -> Kept:
        return ((record, f"tagged {self.tag}") for record in records if self.tag in record.tags)


@dataclass(frozen=True, repr=False)
class AnyKeep(Retention):
    """Keep what any rule keeps."""

    rules: tuple[Retention, ...]

    def __post_init__(self) -> None:
        rules = tuple(self.rules)
        if not rules:
            raise PolicyError(
                "keep is empty, which would delete every checkpoint; expected at least one rule, or KeepAll()"
            )
        if not all(isinstance(rule, Retention) for rule in rules):
            raise PolicyError(f"AnyKeep: got {rules!r}; expected retention rules")
        object.__setattr__(self, "rules", tuple(part for rule in rules for part in rule.parts()))

    def parts(self) -> tuple[Retention, ...]:
        return self.rules

    def kept(self, records: Sequence[Record]) -> Kept:
        return (kept for rule in self.rules for kept in rule.kept(records))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules)) if len(self.rules) > 1 else f"AnyKeep({self.rules!r})"


def best_by(retention: Retention) -> Metric | None:
    """The metric of the first `KeepBest`, if there is one."""
    return next((rule.by for rule in retention.parts() if isinstance(rule, KeepBest)), None)


def last_record(records: Sequence[Record]) -> Record | None:
    """The newest record that was not superseded."""
    return max((r for r in records if not r.superseded), key=lambda r: r.id, default=None)


def final_record(records: Sequence[Record]) -> Record | None:
    """The newest record, not superseded, with which a `fit` ended."""
    return last_record([record for record in records if record.final])


def alias_targets(records: Sequence[Record], best: Metric | None) -> dict[str, Record | None]:
    """What each alias of a run stands for; ``best`` is the metric behind that one."""
    return {"last": last_record(records), "best": best_record(records, best), "final": final_record(records)}


def newest_resumable(records: Sequence[Record]) -> Record | None:
    """The newest verified record that a run can continue from."""
    usable = [r for r in records if r.resumable and r.status is Status.VERIFIED and not r.superseded]
    return last_record(usable)


def plan(retention: Retention, records: Sequence[Record], *, best: Metric | None = None) -> Plan:
    """Decide which of ``records`` survive.

    Whatever the rules say, these survive too: pinned records, the newest verified one that a run can continue
    from, and the targets of ``last``, ``best`` and ``final``.

    Args:
        retention: One rule, or several joined with ``|``.
        records: Records that have a file, in any order; the argument is not changed.
        best: Ranks the alias ``best``; by default the first `KeepBest`'s metric.
    """
    ordered = sorted(records, key=lambda record: record.id)
    reasons: dict[int, list[str]] = defaultdict(list)
    for kept, reason in retention.kept(ordered):
        reasons[kept.id].append(reason)
    always: list[tuple[Record | None, str]] = [(record, "pinned") for record in ordered if record.pinned]
    always += [
        (last_record(ordered), "last"),
        (best_record(ordered, best or best_by(retention)), "best"),
        (final_record(ordered), "final"),
        (newest_resumable(ordered), "newest resumable"),
    ]
    for record, reason in always:
        if record is not None:
            reasons[record.id].append(reason)
    return Plan(
        keep=tuple(record for record in ordered if record.id in reasons),
        remove=tuple(record for record in ordered if record.id not in reasons),
        reasons={id_: tuple(dict.fromkeys(why)) for id_, why in reasons.items()},
    )
