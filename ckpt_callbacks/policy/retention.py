"""Retention rules: which checkpoints survive.

Each rule looks at all records independently; a record that any rule keeps survives. `plan` asks them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import PolicyError
from ..record import Record
from ..units import check_count, format_number
from .argument_names import suggests_fields
from .contents import Contents, as_contents
from .intervals import Interval, accept_duration
from .metric import Metric, as_metric
from .ranking import best_record, ranked_records
from .source_text import source_text

Kept = Iterator[tuple[Record, str]]


@dataclass(frozen=True)
class Retention:
    """A rule that says which checkpoints survive: the base of all retention rules.

    Rules combine: ``KeepLast(3) | KeepBest(1, by=val)`` keeps what either keeps. To add a rule, subclass and define
    `kept`.

    Args:
        contents: What it needs of the checkpoints that it keeps, as a `Contents` or its kind: ``"weights"`` to rewrite
            those that no other rule needs whole. By default, they stay as they were saved.
    """

    contents: Contents | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.contents is not None:
            object.__setattr__(self, "contents", as_contents(type(self).__name__, self.contents))

    def needs(self) -> Contents | None:
        """Return what it needs of the checkpoints that it keeps; None for what was saved."""
        # A subclass may have set the kind after `__post_init__`, or without it.
        return None if self.contents is None else as_contents(type(self).__name__, self.contents)

    def with_contents(self, contents: Contents) -> Retention:
        """Return the rule with these contents, unless it says itself what it needs."""
        if self.needs() is not None:
            return self
        changed = copy.copy(self)
        object.__setattr__(changed, "contents", contents)
        return changed

    def kept(self, records: Sequence[Record]) -> Kept:
        """Yield the records that this rule keeps, each with a reason.

        Args:
            records: The records that have a file, in the order of their ids.
        """
        raise NotImplementedError

    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that it ranks by. None by default."""
        return ()

    def parts(self) -> tuple[Retention, ...]:
        """Return the single rules."""
        return (self,)

    def __or__(self, other: Retention) -> AnyKeep:
        return AnyKeep((self, other)) if isinstance(other, Retention) else NotImplemented

    def __bool__(self) -> bool:
        raise PolicyError("a retention rule has no truth value: combine rules with |, not with `or`")


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepAll(Retention):
    """Keep all checkpoints.

    Args:
        contents: See `Retention`.
    """

    __repr__ = source_text

    def kept(self, records: Sequence[Record]) -> Kept:
        return ((record, "all") for record in records)


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepLast(Retention):
    """Keep the newest checkpoints.

    Checkpoints superseded by a later resume take only the places that the others leave free.

    Args:
        n: How many, at least 1.
        contents: See `Retention`.
    """

    n: int = 1

    __repr__ = source_text

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("KeepLast", "n", self.n)

    def kept(self, records: Sequence[Record]) -> Kept:
        newest = sorted(records, key=lambda record: (not record.superseded, record.id))[-self.n :]
        return ((record, f"last {self.n}") for record in newest)


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepBest(Retention):
    """Keep the best checkpoints by a metric.

    Checkpoints for which the metric was not measured, or was not finite, are not ranked.

    Args:
        n: How many, at least 1.
        by: The metric, or its name; see `as_metric`.
        contents: See `Retention`.
    """

    n: int = 1
    by: Metric | None = None

    __repr__ = source_text

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("KeepBest", "n", self.n)
        object.__setattr__(self, "by", as_metric("KeepBest: by", self.by))

    def metrics(self) -> tuple[Metric, ...]:
        return () if self.by is None else (self.by,)  # never None: see above

    def kept(self, records: Sequence[Record]) -> Kept:
        (by,) = self.metrics()
        best = ranked_records(records, by)[: self.n]
        for place, record in enumerate(best, start=1):
            yield record, f"best {self.n} by {by.series} (#{place})"
        # Superseded records may fill all places; the best of the current line survives as well.
        live = best_record(records, by)
        if live is not None and live not in best:
            yield live, f"best by {by.series}"


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepEvery(Retention):
    """Keep the first checkpoint at or after each multiple of an interval. Pass exactly one interval.

    Examples: ``KeepEvery(epochs=10)``, ``KeepEvery("6 h")``.

    Args:
        epochs: Completed epochs; or, as the only argument, a training time with its unit, such as ``"6 h"``.
        steps: Optimizer updates.
        hours: Hours of training time, accumulated over resumes.
        contents: See `Retention`.
    """

    epochs: int | str | None = None
    steps: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        accept_duration(self)
        Interval.given(self)  # raises, unless exactly one is given and makes sense

    @cached_property
    def interval(self) -> Interval:
        """The one interval that is given."""
        return Interval.given(self)

    def kept(self, records: Sequence[Record]) -> Kept:
        buckets: dict[float, list[Record]] = defaultdict(list)
        for record in records:
            buckets[self.interval.count(record)].append(record)
        for bucket, found in buckets.items():
            if bucket >= 1:
                # A run that went back and reaches this point again replaces the record that it superseded.
                first = min(found, key=lambda r: (r.superseded, r.step, r.id))
                yield first, self.interval.describe()

    def __repr__(self) -> str:
        return f"KeepEvery({self.interval}{'' if self.contents is None else f', contents={self.contents!r}'})"


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepWithin(Retention):
    """Keep the checkpoints that are at most ``hours`` older than the newest one; time alone deletes nothing.

    The newest one is the one with the latest date. One that was saved on a machine whose clock was ahead makes others
    old; the date of the last save would not do, because with clocks that go back it would let rules want what they have
    deleted.

    Args:
        hours: Hours by which a checkpoint may be older than the newest one; or text such as ``"2 d"``.
        contents: See `Retention`.
    """

    hours: float

    __repr__ = source_text

    def __post_init__(self) -> None:
        super().__post_init__()
        accept_duration(self)
        Interval.checked("KeepWithin", "hours", self.hours)

    def kept(self, records: Sequence[Record]) -> Kept:
        newest = max((record.wall for record in records), default=0.0)
        return ((r, f"within {format_number(self.hours)} h") for r in records if r.wall >= newest - self.hours * 3600)


@suggests_fields
@dataclass(frozen=True, repr=False)
class KeepTagged(Retention):
    """Keep the checkpoints that carry a tag.

    Args:
        tag: The tag.
        contents: See `Retention`.
    """

    tag: str

    __repr__ = source_text

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.tag, str) or not self.tag:
            raise PolicyError(f"KeepTagged: tag is {self.tag!r}; expected a name, such as 'release'")

    def kept(self, records: Sequence[Record]) -> Kept:
        return ((record, f"tagged {self.tag}") for record in records if self.tag in record.tags)


@dataclass(frozen=True, repr=False)
class AnyKeep(Retention):
    """Keep every checkpoint that any of the rules keeps: ``a | b``.

    Args:
        rules: One or more rules.
    """

    rules: tuple[Retention, ...]
    contents: None = field(default=None, init=False, repr=False)  # each rule has its own

    def __post_init__(self) -> None:
        rules = tuple(self.rules)
        if not rules:
            raise PolicyError(
                "keep is empty, which would delete every checkpoint; expected at least one rule, or KeepAll()"
            )
        if not all(isinstance(rule, Retention) for rule in rules):
            raise PolicyError(f"AnyKeep: got {rules!r}; expected retention rules")
        object.__setattr__(self, "rules", tuple(part for rule in rules for part in rule.parts()))

    def metrics(self) -> tuple[Metric, ...]:
        return tuple(metric for rule in self.rules for metric in rule.metrics())

    def parts(self) -> tuple[Retention, ...]:
        return self.rules

    def with_contents(self, contents: Contents) -> Retention:
        return AnyKeep(tuple(rule.with_contents(contents) for rule in self.rules))

    def kept(self, records: Sequence[Record]) -> Kept:
        return (kept for rule in self.rules for kept in rule.kept(records))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules)) if len(self.rules) > 1 else f"AnyKeep({self.rules!r})"


def best_by(retention: Retention) -> Metric | None:
    """Return the first metric that a rule ranks by, if any rule does."""
    return next(iter(retention.metrics()), None)
