"""Scripts that go wrong with Lightning's own callback, and not with this package (docs/peer-failures.md)."""

import warnings

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from ckpt_callbacks import Every, KeepAll, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, digest, loaders, trainer
from tests.adapters.lightning.test_module_hooks import AfterBatch, SwapsForValidation
from tests.adapters.lightning.test_weights_identity import Uncounted
from tests.system.competitors.competitor import fails

STEPS = Policy(Every(steps=4), KeepAll())


class Anneals(Model):
    """A module that sets its dropout at the start of each epoch."""

    def on_train_epoch_start(self):
        self.net[1].p = 0.5 / (1 + self.current_epoch)


class Compiled(Model):
    """A module with a compiled part."""

    def __init__(self):
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")


def train(module, *callbacks, ckpt_path=None, **settings):
    """Train from a fixed seed, and return the module and the trainer."""
    seed_everything(7, verbose=False)
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    made = module()
    fitter = trainer(*callbacks, enable_checkpointing=saves, **{"num_sanity_val_steps": 0, **settings})
    fitter.fit(made, *loaders(), ckpt_path=ckpt_path)
    return made, fitter


def saved(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_l24_weights_are_told_apart_where_no_step_is_counted(tmp_path):
    """Lightning 13752, 17167: ModelCheckpoint compares ``global_step``, which stays at 0, and saves nothing."""
    ours = LightningCheckpoint(tmp_path / "ours", EACH_EPOCH)
    trained, _ = train(Uncounted, ours)
    files = [saved(record.path) for record in ours.records()]
    assert len(files) == 3 and not torch.equal(files[0]["net.0.weight"], files[1]["net.0.weight"])
    assert torch.equal(files[-1]["net.0.weight"], trained.net[0].weight)

    theirs = ModelCheckpoint(tmp_path / "theirs", save_top_k=-1)
    train(Uncounted, theirs)
    fails("lightning", not list((tmp_path / "theirs").glob("*.ckpt")))


def test_l25_a_step_save_holds_what_the_modules_hook_did(tmp_path):
    """Callbacks run before the module's hook of the same name: the average in the file lags one step behind."""
    ours = LightningCheckpoint(tmp_path / "ours", STEPS)
    trained, _ = train(AfterBatch, ours, max_steps=8)
    assert torch.equal(saved(ours.last().path)["average.weight"], trained.average.weight)

    theirs = ModelCheckpoint(tmp_path / "theirs", every_n_train_steps=4, save_last=True)
    trained, _ = train(AfterBatch, theirs, max_steps=8)
    fails("lightning", not torch.equal(saved(theirs.last_model_path)["average.weight"], trained.average.weight))


def test_l26_weights_swapped_in_for_a_validation_are_not_saved_as_the_trained_ones(tmp_path):
    """ModelCheckpoint saves at a validation's end while the averages are still in the model, as the trained weights."""
    ours = LightningCheckpoint(tmp_path / "ours", EACH_EPOCH)
    trained, _ = train(SwapsForValidation, ours, max_epochs=1)
    assert torch.equal(saved(ours.last().path)["net.3.weight"], trained.net[3].weight)

    theirs = ModelCheckpoint(tmp_path / "theirs", monitor="val_loss", save_on_train_epoch_end=False)
    trained, _ = train(SwapsForValidation, theirs, max_epochs=1)
    fails("lightning", torch.equal(saved(theirs.best_model_path)["average.weight"], trained.net[3].weight))


@pytest.mark.slow
def test_l27_an_epoch_that_is_resumed_has_what_its_start_set_up(tmp_path):
    """Lightning does not call ``on_train_epoch_start`` for an epoch that it resumes in the middle."""
    policy = Policy(Every(steps=1), KeepLast(2))
    whole = digest(*train(Anneals, LightningCheckpoint(tmp_path / "whole", policy)))
    with pytest.raises(ZeroDivisionError):
        train(Anneals, LightningCheckpoint(tmp_path / "ours", policy), Crash(14))
    ours = LightningCheckpoint(tmp_path / "ours", policy)
    resumed, fitter = train(Anneals, ours, ckpt_path=ours.resume_path())
    assert digest(resumed, fitter) == whole and resumed.net[1].p == 0.5 / 3

    theirs = ModelCheckpoint(tmp_path / "theirs", every_n_train_steps=1, save_last=True)
    with pytest.raises(ZeroDivisionError):
        train(Anneals, theirs, Crash(14))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resumed, _ = train(Anneals, ckpt_path=theirs.last_model_path, max_epochs=2)
    fails("lightning", resumed.net[1].p != 0.25)


def test_l28_a_compiled_part_is_saved_under_its_plain_names(tmp_path):
    """Lightning 20233: ``_orig_mod.`` in the names prevents a file from loading into the plain module."""
    ours = LightningCheckpoint(tmp_path / "ours", EACH_EPOCH)
    train(Compiled, ours, max_epochs=1)
    Model().load_state_dict(saved(ours.last().path))

    theirs = ModelCheckpoint(tmp_path / "theirs")
    train(Compiled, theirs, max_epochs=1)
    fails("lightning", any("_orig_mod." in name for name in saved(theirs.best_model_path)))
