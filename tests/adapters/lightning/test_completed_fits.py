"""Scripts of two fits, all checkpoints of the first one deleted, that are started again in the second one."""

import pytest
import torch
from lightning import seed_everything

from ckpt_callbacks import Every, KeepLast, Policy, ResumeError, open_run
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, digest, loaders, trainer
from tests.support.command import ckpt

LAST = Policy(Every(epochs=1), KeepLast(1))


class Phases(Model):
    second = False

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01, momentum=0.9) if self.second else super().configure_optimizers()


def script(dirpath, *extra, one_trainer=False, resume="never", ckpt_path=None, epochs=(1, 3)):
    """Fit twice, with another optimizer in the second fit unless one trainer does both; returns the digest."""
    process_fits._fits.clear()  # as in a new process
    seed_everything(7, verbose=False)
    module, fitter = Phases(), None
    for number, most in enumerate(epochs):
        if fitter is None or not one_trainer:
            callback = LightningCheckpoint(dirpath, LAST, resume=resume)
            fitter = trainer(*(extra if number or one_trainer else ()), callback)
            module.second = number > 0
        fitter.fit_loop.max_epochs = most
        only = ["weights", "step"] if number and not callback.records()[-1].fit > 1 and not one_trainer else None
        path = callback.resume_path(only=only) if ckpt_path == "last" and only else ckpt_path
        fitter.fit(module, *loaders(), ckpt_path=path)
    return digest(module, fitter)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ckpt_path": "last"},
        pytest.param({"ckpt_path": "last", "one_trainer": True}, marks=pytest.mark.slow),
        pytest.param({"resume": "auto", "one_trainer": True}, marks=pytest.mark.slow),
    ],
)
def test_the_first_fit_trains_nothing_and_the_second_continues(tmp_path, caplog, arguments):
    whole = script(tmp_path / "whole", **arguments)
    with pytest.raises(ZeroDivisionError):
        script(tmp_path / "cut", Crash(25), **arguments)
    assert ckpt("rm", tmp_path / "cut", "final", "--force").exit_code == 0  # retention keeps it until the next one
    assert [record.fit for record in open_run(tmp_path / "cut").records()] == [2]
    assert script(tmp_path / "cut", **arguments) == whole
    line = "nothing left to train; the run ended at step 20, in a later fit of this script, so this fit was completed"
    assert caplog.text.count(line) == 1


def test_fewer_epochs_of_the_only_fit_are_refused_as_before(tmp_path):
    script(tmp_path, epochs=(2,))
    with pytest.raises(ResumeError, match=r"is of epoch 2, and Trainer\(max_epochs=1\)"):
        script(tmp_path, epochs=(1,), ckpt_path="last")
