"""The facts of a checkpoint file that a framework's own callback wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ranking:
    """A ranking by one metric, as a ModelCheckpoint keeps it in the files that it saves.

    Attributes:
        metric: The metric's name.
        mode: ``min`` or ``max``; None if the file does not say so.
        scores: The values of the metric, by the names of the files in the callback's directory.
    """

    metric: str
    mode: str | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Original:
    """The facts that such a file holds about the training.

    Attributes:
        framework: Who wrote it, such as ``"lightning"``.
        step: Optimizer updates done; 0 if the file does not say so.
        epoch: Completed epochs; 0 if the file does not say so.
        unknown: Which of the two the file does not say, by name.
        contents: ``full`` or ``weights``.
        resumable: Whether a run can continue from it.
        rankings: The rankings of the ModelCheckpoints that took part in the training.
        has_rankings: Whether the file has a place for them.
        names: The names of the files that these ModelCheckpoints know in their directory; they may contain folders.
        refused: The class of an object in the file that was not loaded, because that would run code; empty if all was.
    """

    framework: str
    step: int = 0
    epoch: int = 0
    unknown: tuple[str, ...] = ()
    contents: str = "full"
    resumable: bool = False
    rankings: tuple[Ranking, ...] = field(default_factory=tuple)
    has_rankings: bool = False
    names: frozenset[str] = frozenset()
    refused: str = ""
