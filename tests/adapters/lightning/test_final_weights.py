"""Scripts that are started again after their training has ended, or was killed while it ended."""

import shutil

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, StochasticWeightAveraging

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer, weights
from tests.support.variants import only_quick

EPOCHS = Policy(Every(epochs=1), KeepAll())


def halve(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)


class Halve(Callback):
    """Changes the weights when training ends."""

    def on_train_end(self, trainer, pl_module):
        halve(pl_module)


class Halving(Model):
    def on_train_end(self):
        halve(self)


class Copy(Callback):
    """Copies the run directory before the end, as a kill at that moment would leave it."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def on_train_end(self, trainer, pl_module):
        for callback in trainer.callbacks:
            if isinstance(callback, LightningCheckpoint):
                callback._run.wait()
        shutil.copytree(self.source, self.target, symlinks=True)


def run(dirpath, *extra, model=Model, **settings):
    torch.manual_seed(7)
    module, callback = model(), LightningCheckpoint(dirpath, EPOCHS)
    trainer(*extra, callback, **settings).fit(module, *loaders(), ckpt_path=callback.resume_path())
    return module, callback


ENDS = {
    "a callback": lambda: [Halve()],
    "SWA": lambda: [StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)],
    "averages": lambda: [EMAWeightAveraging(decay=0.5)],
    "the module": list,
    "nothing": list,
}


@pytest.mark.parametrize("end", only_quick(ENDS, "a callback", "SWA"))
def test_a_finished_script_run_again_holds_the_weights_that_it_ended_with(tmp_path, caplog, end):
    model = Halving if end == "the module" else Model
    first, callback = run(tmp_path, *ENDS[end](), model=model)
    final = callback.final()
    for _ in range(2):
        again, callback = run(tmp_path, *ENDS[end](), model=model)
        assert torch.equal(weights(first), weights(again))
        assert callback.final() == final
    loaded = f"; loaded the weights that it ended with from {final.file}" in caplog.text
    assert loaded is (end in ("a callback", "SWA", "the module")), caplog.messages


@pytest.mark.parametrize("end", only_quick(["a callback", "the module"], "a callback"))
def test_a_run_that_was_killed_while_it_ended_has_no_final_and_says_so(tmp_path, caplog, end):
    model, extra = (Halving, []) if end == "the module" else (Model, [Halve()])
    run(tmp_path / "run", Copy(tmp_path / "run", tmp_path / "killed"), *extra, model=model)
    for _ in range(2):
        caplog.clear()
        _, callback = run(tmp_path / "killed", *extra, model=model)
        assert callback.final() is None and callback.last().epoch == 3
        assert f"on_train_end of {'Halving' if end == 'the module' else 'Halve'} did not run" in caplog.text
    more, callback = run(tmp_path / "killed", *extra, model=model, max_epochs=4)
    whole, _ = run(tmp_path / "whole", *extra, model=model, max_epochs=4)
    assert torch.equal(weights(more), weights(whole)) and callback.final().epoch == 4


def test_a_run_that_was_killed_while_it_ended_is_final_if_the_end_changes_nothing(tmp_path):
    run(tmp_path / "run", Copy(tmp_path / "run", tmp_path / "killed"))
    module, callback = run(tmp_path / "killed")
    assert callback.final() == callback.last()
    assert torch.equal(weights(module), torch.cat([p.flatten() for p in _saved(callback.final())]))


def test_a_run_that_was_extended_and_killed_while_it_ended_has_a_new_final(tmp_path):
    run(tmp_path / "run")
    run(tmp_path / "run", Copy(tmp_path / "run", tmp_path / "killed"), max_epochs=4)
    assert LightningCheckpoint(tmp_path / "killed", EPOCHS).final().epoch == 3
    _, callback = run(tmp_path / "killed", max_epochs=4)
    assert callback.final() == callback.last() and callback.final().epoch == 4


def test_an_older_checkpoint_that_the_script_names_stays_loaded(tmp_path):
    run(tmp_path, Halve(), max_epochs=3)
    older = next(record for record in LightningCheckpoint(tmp_path, EPOCHS).records() if record.epoch == 2)
    module, callback = Model(), LightningCheckpoint(tmp_path, EPOCHS)
    trainer(Halve(), callback, max_epochs=2).fit(module, *loaders(), ckpt_path=older.path)
    assert torch.equal(weights(module), torch.cat([p.flatten() for p in _saved(older)]))


def test_a_fold_with_a_callback_of_its_own_in_the_same_directory_is_named(tmp_path, caplog):
    for _ in range(2):
        fit(tmp_path, EACH_EPOCH, resume=True)
    assert "nothing left to train; the run ended at step 30, with another model in this process" in caplog.text


def _saved(record):
    state = torch.load(record.path, weights_only=True)["state_dict"]
    return [state[name] for name, _ in Model().named_parameters()]
