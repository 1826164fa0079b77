"""The measured costs of the saves of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..record import known_fields

_REMEMBERED = 5  # saves: few enough to follow a disk that gets slower, enough that one odd save does not matter


@dataclass(frozen=True)
class Costs:
    """The costs of all saves of a run so far.

    Attributes:
        blocked: Seconds for which all saves together blocked the training, failed ones included.
        recent: The seconds of the last few successful saves, oldest first; a failed one says little about the next.
        asked: Training time when the newest successful save was requested; None before there is one.
    """

    blocked: float = 0.0
    recent: tuple[float, ...] = ()
    asked: float | None = None

    @property
    def expected(self) -> float | None:
        """Seconds for which one more save would block, as the median of the recent ones; None if that is unknown.

        A median, because the first save of a process, or one made while the disk is busy, says little about the others.
        Of two middle values, the higher one is taken.
        """
        return sorted(self.recent)[len(self.recent) // 2] if self.recent else None

    def with_saved(self, asked: float, blocked: float | None) -> Costs:
        """Return the costs after a successful save, which was requested at the training time ``asked``."""
        measured = () if blocked is None else (blocked,)
        return Costs(
            blocked=self.blocked + sum(measured),
            recent=(*self.recent, *measured)[-_REMEMBERED:],
            asked=asked if self.asked is None else max(self.asked, asked),
        )

    def with_dropped(self, blocked: float | None) -> Costs:
        """Return the costs after a save that failed."""
        return dataclasses.replace(self, blocked=self.blocked + (blocked or 0.0))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, which `from_json` reads back."""
        return dataclasses.asdict(self) | {"recent": list(self.recent)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Costs:
        """Return the costs that `to_json` described."""
        kept = known_fields(cls, facts)
        return cls(**kept | {"recent": tuple(kept.get("recent", ()))})
