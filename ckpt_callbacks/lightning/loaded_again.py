"""The progress of a resume that loads an epoch's batches again, which may take as long as the first time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("ckpt_callbacks")
_FIRST, _NEXT = 1.0, 10.0  # seconds until the first message, and between later ones


def loaded_again(batches: int, now: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """Yield the number of each batch to load, and log the progress if loading takes long.

    Args:
        batches: How many batches there are.
        now: The time in seconds.
    """
    begun, due = now(), _FIRST
    for done in range(batches):
        spent = now() - begun
        if done and spent >= due:
            due = spent + _NEXT
            log.warning(
                "loading again the %d batches trained on in this epoch before the checkpoint: %d done in "
                "%.0f s, about %.0f s left; a StatefulDataLoader (torchdata) does not load them again",
                batches, done, spent, spent / done * (batches - done),
            )  # fmt: skip
        yield done
