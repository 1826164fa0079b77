"""Types in checkpoints that torch refuses to load, unless it is told to trust the file."""

from __future__ import annotations

import logging

from ..errors import VerifyError
from ..formats.torch.check import number_of_refusals, why_refused
from ..record import Record
from .fit_call import trusts_checkpoints

log = logging.getLogger("ckpt_callbacks")


class RefusedTypes:
    """A listener that warns at the first save of a fit that torch refuses to load."""

    background = True  # it may have to read the file

    def __init__(self) -> None:
        self._is_done = trusts_checkpoints()
        self._looked_at: int | None = None  # the number of refusals at the last check

    def __call__(self, record: Record) -> None:
        refusals = number_of_refusals()
        if self._is_done or record.contents != "full" or self._looked_at == refusals:
            return
        try:
            name = why_refused(record.path)
        except VerifyError:
            return  # it has been deleted; the next one is checked instead
        self._looked_at = refusals
        if name is not None:
            self._is_done = True
            log.warning(
                "%s: these checkpoints hold %s, which torch does not load by default; to resume from them, %s",
                record.path, name, way_to_load(),
            )  # fmt: skip


def way_to_load() -> str:
    """Return what to do to resume from a file with such types."""
    return f"pass weights_only=False to trainer.fit() if you trust the file, or {way_to_save()}"


def way_to_save() -> str:
    """Return what to do to keep such types out of the files."""
    return "save plain values instead, such as OmegaConf.to_container(cfg), vars(settings) or float(x)"
