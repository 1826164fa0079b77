"""The validation before training, which shows the names of its metrics."""

from __future__ import annotations

from lightning.pytorch import Trainer

from ..errors import MetricError
from ..policy.missing_metrics import problem_of_validation
from ..run.run import Run
from .metrics import names_of_validation


def check_names(trainer: Trainer, run: Run) -> None:
    """Make sure that the policy's metrics have the names that the sanity check has logged. Collective.

    Raises:
        MetricError: A metric has another name.
    """
    # Some values may be logged by one process only.
    logged = run.processes.broadcast(names_of_validation(trainer))
    if problem := problem_of_validation(run.policy, logged):
        raise MetricError(problem)
