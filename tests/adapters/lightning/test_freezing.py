"""Frozen parameters after a resume: those that training unfroze are unfrozen again, and the script decides the rest."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, Policy
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, digest, fit


@pytest.fixture(autouse=True)
def _all_parameters(monkeypatch):
    monkeypatch.setattr(Model, "configure_optimizers", lambda self: torch.optim.Adam(self.parameters(), 0.02))


class Set(Callback):
    """Sets ``requires_grad`` of the first layer at one hook."""

    def __init__(self, hook, trained, epoch=0):
        self.trained, self.epoch = trained, epoch
        setattr(self, hook, self._set)

    def _set(self, trainer, module, **_):
        if trainer.current_epoch == self.epoch:
            module.net[0].requires_grad_(self.trained)

    @property
    def state_key(self):
        return f"Set{id(self)}"


def first_layer(module):
    return torch.cat([p.detach().flatten() for p in module.net[0].parameters()])


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
def test_what_the_script_unfreezes_for_a_second_phase_is_trained(tmp_path, caplog, hook):
    first, *_ = fit(tmp_path, extra=[Set(hook, False)], max_epochs=1)
    before = first_layer(first)
    second, *_ = fit(tmp_path, extra=[], resume=True, max_epochs=2)
    assert not torch.equal(first_layer(second), before)
    assert "requires_grad" not in caplog.text and "frozen" not in caplog.text


@pytest.mark.parametrize("hook", ["setup", "on_fit_start"])
def test_what_the_script_freezes_for_a_second_phase_stays_so(tmp_path, hook):
    first, *_ = fit(tmp_path, max_epochs=1)
    before = first_layer(first)
    second, *_ = fit(tmp_path, extra=[Set(hook, False)], resume=True, max_epochs=2)
    assert torch.equal(first_layer(second), before)


def test_what_training_had_frozen_is_left_to_the_script_and_said(tmp_path, caplog):
    def freezing():
        return Set("on_train_epoch_start", False, epoch=1)

    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, EACH_EPOCH, extra=[freezing(), Crash(25)], max_epochs=3)
    module, *_ = fit(tmp_path, EACH_EPOCH, extra=[freezing()], resume=True, max_epochs=3)
    assert module.net[0].weight.requires_grad
    assert caplog.text.count("training had frozen parameters before the checkpoint was taken") == 1


def test_what_training_had_unfrozen_stays_so_over_several_resumes(tmp_path):
    def schedule():
        return [Set("setup", False), Set("on_train_epoch_start", True, epoch=1)]

    policy = Policy(Every(epochs=1), KeepAll())
    whole = digest(*fit(tmp_path / "whole", policy, extra=schedule(), max_epochs=5)[:2])
    for step in (25, 35, 45):
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / "cut", policy, extra=[*schedule(), Crash(step)], resume=True, max_epochs=5)
    assert digest(*fit(tmp_path / "cut", policy, extra=schedule(), resume=True, max_epochs=5)[:2]) == whole
