"""A run that is interrupted while its best checkpoints are reduced."""

from ckpt_callbacks import Status
from tests.adapters.lightning.task import digest, fit


def resumed_exactly(folder, policy, policy_of_whole):
    """Train in two parts, and compare the end with that of an uninterrupted run.

    Returns:
        The callback of the uninterrupted run; the module and the trainer of the second part; and the records of the
        checkpoints that were reduced.
    """
    whole = fit(folder / "whole", policy_of_whole, max_epochs=5)
    fit(folder / "run", policy, max_epochs=3)
    module, fitter, callback = fit(folder / "run", policy, max_epochs=5, resume=True)
    assert digest(module, fitter) == digest(*whole[:2])
    return whole[2], module, fitter, [r for r in callback.records() if r.status is Status.THINNED]
