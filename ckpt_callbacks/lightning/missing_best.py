"""The best checkpoint that a script asks for, if there is none."""

from __future__ import annotations

from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

from ..errors import ResumeError
from ..run.run import Run
from .fit_call import is_called_by


def refuse_best(run: Run) -> None:
    """Raise an error in place of Lightning's, which names ModelCheckpoint, if it looks for ``ckpt_path="best"``.

    Loggers ask for the best checkpoint, too; to them, there is just none.

    Raises:
        ResumeError: No checkpoint is the best.
    """
    if not is_called_by(_CheckpointConnector._parse_ckpt_path):
        return
    view = run.directory.shown
    last, why = view.existing(view.last), view.why_no_best(run.state)
    if last is not None:
        why += f"; for the newest one, pass ckpt_path={str(last.path)!r}"
    raise ResumeError(f'{run.dirpath}: ckpt_path="best": {why}')
