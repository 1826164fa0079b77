"""What saves cost a run, as their outcomes tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REMEMBERED = 5  # saves: few enough to follow a disk that grows slower, enough that one odd save decides nothing


@dataclass(frozen=True)
class Costs:
    """What the saves of a run cost so far.

    Attributes:
        blocked: Seconds for which all saves together blocked the training, those that failed included.
        recent: The seconds of the last few saves that worked, oldest first; what a failed one took says little.
        asked: Training time at which the newest save that worked was asked for; None before any.
    """

    blocked: float = 0.0
    recent: tuple[float, ...] = ()
    asked: float | None = None

    @property
    def expected(self) -> float | None:
        """Seconds for which one more save would block: the median of the recent ones, of two the higher. None: unknown.

        A median, because the first save of a process, or one beside a busy disk, is no measure for the others.
        """
        return sorted(self.recent)[len(self.recent) // 2] if self.recent else None

    def with_saved(self, asked: float, blocked: float | None) -> Costs:
        """After a save that worked, which was asked for at that training time."""
        measured = () if blocked is None else (blocked,)
        return Costs(
            blocked=self.blocked + sum(measured),
            recent=(*self.recent, *measured)[-_REMEMBERED:],
            asked=asked if self.asked is None else max(self.asked, asked),
        )

    def with_dropped(self, blocked: float | None) -> Costs:
        """After a save that did not work."""
        return dataclasses.replace(self, blocked=self.blocked + (blocked or 0.0))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return dataclasses.asdict(self) | {"recent": list(self.recent)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Costs:
        """The costs that `to_json` described; facts from a newer version that are unknown here are dropped."""
        known = {f.name for f in dataclasses.fields(cls)}
        kept = {name: value for name, value in facts.items() if name in known}
        return cls(**kept | {"recent": tuple(kept.get("recent", ()))})
