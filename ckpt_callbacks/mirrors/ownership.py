"""The run directory to which a mirror belongs, and the starts of training by which they know each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import MirrorConflict
from ..record import Attempt
from .catalog import Catalog


@dataclass(frozen=True)
class Wording:
    """What the lines about a mirror of somebody else say besides the facts.

    Attributes:
        consequence: What follows from it.
        instead: What else may be done about a run that was continued elsewhere.
    """

    consequence: str = ""
    instead: str = ""


TRAINING = Wording(", so nothing is sent there, and training goes on")
COMMAND = Wording(instead=", or --force")


def owned(
    found: Catalog | None, attempts: Sequence[Attempt], url: str, wording: Wording, *, force: bool = False
) -> tuple[Attempt, ...]:
    """Return the starts of training that a mirror's catalog is to name, if it belongs to a run directory.

    Args:
        found: The catalog; None if there is none yet. One without checkpoints belongs to nobody.
        attempts: All starts of training in the run directory.
        url: The mirror's URL.
        wording: Of the messages.
        force: Whether it belongs to the directory as well if the run was continued elsewhere since. The starts there
            are then forgotten.

    Raises:
        MirrorConflict: It belongs to another run, or the run was continued elsewhere since.
    """
    if found is None or not found.entries:  # a run that has claimed it, and sent nothing, has nothing to lose there
        return tuple(attempts)
    host = found.host or "another host"
    if found.runs and found.runs.isdisjoint({attempt.run for attempt in attempts}):
        run = found.attempts[-1].run if found.attempts else min(found.runs)
        raise MirrorConflict(
            f"{url}: holds the checkpoints of another run, {run} of {host}{wording.consequence}; expected an empty "
            "place, or that of this run"
        )
    further = unknown_starts(found.attempts, attempts)
    if further and not force:
        raise MirrorConflict(
            f"{url}: the run was continued on {further[-1].facts.get('host') or 'another host'} since (start "
            f"{further[-1].number}), which this directory does not know{wording.consequence}; expected the directory "
            f"that continued it{wording.instead}"
        )
    return merged([attempt for attempt in found.attempts if attempt not in further], attempts)


def merged(known: Sequence[Attempt], further: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Return starts of training with further ones behind them, each once."""
    return (*known, *unknown_starts(further, known))


def unknown_starts(starts: Sequence[Attempt], known: Sequence[Attempt]) -> list[Attempt]:
    """Return the starts of training that are not among the known ones.

    Two directories that continue one run may give starts the same number. Of a start that was known again only from its
    checkpoints, the time is not known.
    """
    names = {(attempt.run, attempt.number, attempt.wall) for attempt in known}
    restored = {(attempt.run, attempt.number) for attempt in known if attempt.facts.get("rebuilt")}
    return [a for a in starts if (a.run, a.number, a.wall) not in names and (a.run, a.number) not in restored]
