"""The progress of a resume that loads the batches of an epoch again, which may take as long as they took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("ckpt_callbacks")
_FIRST, _NEXT = 1.0, 10.0  # seconds until there is something to say, and from then on


def loaded_again(batches: int, now: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """Yield the number of each batch that is to be loaded, and log how far that is if it takes long.

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
                "loading the %d batches of the epoch again that were trained before the checkpoint: %d done in %.0f s, "
                "about %.0f s left; a StatefulDataLoader (torchdata) does not load them again",
                batches, done, spent, spent / done * (batches - done),
            )  # fmt: skip
        yield done
