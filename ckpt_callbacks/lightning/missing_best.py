"""The best checkpoint that a script asks for, if there is none."""

from __future__ import annotations

from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

from ..errors import ResumeError
from ..policy.unranked import why_unranked
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
    metric, last = run.policy.best_metric, view.existing(view.last)
    if metric is None:
        why = (
            "the policy ranks nothing; add a rule with a metric, such as KeepBest(1, by=Metric('val_loss', mode='min'))"
        )
    else:
        reason = why_unranked(metric, run.policy, run.state, view.records())
        why = f"no checkpoint is the best by {metric.name}: {reason}"
    if last is not None:
        why += f"; for the newest one, pass ckpt_path={str(last.path)!r}"
    raise ResumeError(f'{run.dirpath}: ckpt_path="best": {why}')
