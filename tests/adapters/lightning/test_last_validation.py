"""A validation after the last step of a fit that ends within an epoch."""

import shutil

from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, Improves, KeepBest, KeepLast, Policy
from tests.adapters.lightning.task import VAL, digest, fit

POLICY = Policy(Every(epochs=1) | Improves(VAL), KeepLast(2) | KeepBest(1, by=VAL), best_by=VAL)


class Killed(Callback):
    """Copies the run directory in the last validation, as a kill leaves it."""

    def __init__(self, dirpath, copy):
        self.dirpath, self.copy = dirpath, copy

    def on_validation_end(self, trainer, module):
        if trainer.global_step == 15:
            shutil.copytree(self.dirpath, self.copy, symlinks=True)


SETTINGS = dict(max_steps=15, max_epochs=-1, val_check_interval=0.5)


def test_a_kill_in_the_last_validation_leaves_no_final_checkpoint_without_metrics(tmp_path):
    module, fitter, whole = fit(
        tmp_path / "whole", POLICY, extra=[Killed(tmp_path / "whole", tmp_path / "copy")], **SETTINGS
    )
    assert whole.last().step == 15 and "val_loss" in whole.last().metrics
    again, resumed, callback = fit(tmp_path / "copy", POLICY, resume=True, **SETTINGS)
    assert digest(again, resumed) == digest(module, fitter)
    assert (callback.best().step, callback.best().metrics) == (whole.best().step, whole.best().metrics)
    assert callback.last().metrics == whole.last().metrics
