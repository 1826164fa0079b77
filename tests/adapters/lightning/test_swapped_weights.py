"""Weights that a script puts into the model for a validation, and that are not saved as the trained ones."""

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ckpt_callbacks import Every, KeepAll, OnException, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, digest, loaders, trainer
from tests.adapters.lightning.test_module_hooks import AfterBatch, SwapsForValidation
from tests.adapters.lightning.test_resuming_data import At, crash, terminate


class ExchangesModules(SwapsForValidation):
    """Puts the module of averages in the place of the trained one."""

    def swap(self):
        self.net[3], self.average = self.average, self.net[3]


class Swapping(Callback):
    def on_validation_epoch_start(self, trainer, module):
        module.swap()

    def on_validation_epoch_end(self, trainer, module):
        module.swap()


class Halves(Model):
    """Keeps no averages: it validates weights that it computes for the validation."""

    def on_validation_epoch_start(self):
        self.kept = [parameter.detach().clone() for parameter in self.parameters()]
        for parameter in self.parameters():
            parameter.data.mul_(0.5)

    def on_validation_epoch_end(self):
        for parameter, value in zip(self.parameters(), self.kept, strict=True):
            parameter.data.copy_(value)


class BackInLastHook(AfterBatch):
    def on_validation_start(self):
        self.swap()

    def on_validation_model_train(self):
        super().on_validation_model_train()
        self.swap()


class InModelHooks(AfterBatch):
    def on_validation_model_eval(self):
        super().on_validation_model_eval()
        self.swap()

    def on_validation_model_train(self):
        self.swap()
        super().on_validation_model_train()


class BackInNextBatch(AfterBatch):
    swapped = False

    def on_validation_start(self):
        self.swap()
        self.swapped = True

    def on_train_batch_start(self, *_):
        if self.swapped:
            self.swap()
        self.swapped = False


CASES = {
    "module": (SwapsForValidation, []),
    "back in the last hook": (BackInLastHook, []),
    "in the hooks of the mode": (InModelHooks, []),
    "modules exchanged": (ExchangesModules, []),
    "callback": (AfterBatch, [Swapping]),
    "made anew": (Halves, []),
    "nothing": (AfterBatch, []),
}


class StopsAt(Callback):
    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.fit_loop.total_batch_idx + 1 == self.batch


def train(dirpath, case, rule, *extra, resume=False, **settings):
    seed_everything(7, verbose=False)
    module, callbacks = CASES[case]
    module, callback = module(), LightningCheckpoint(dirpath, Policy(rule, KeepAll()))
    fitter = trainer(*extra, *[one() for one in callbacks], callback, **{"num_sanity_val_steps": 0, **settings})
    fitter.fit(module, *loaders(val_size=10), ckpt_path=callback.resume_path() if resume else None)
    return digest(module, fitter), callback


def trained(record):
    state = torch.load(record.path, weights_only=True)["state_dict"]
    return torch.cat([value.flatten() for name, value in state.items() if name.startswith("net.")])


def ends(raised, dirpath, case, rule, *extra, **settings):
    """Train until an exception; return the records."""
    with pytest.raises(raised):
        train(dirpath, case, rule, *extra, **settings)
    return LightningCheckpoint(dirpath, Policy(rule, KeepAll())).records()


PLACES = {
    "epoch's end": (dict(), 6),
    "mid-epoch": (dict(val_check_interval=4), 6),
    "amid an accumulation": (dict(val_check_interval=2, accumulate_grad_batches=4), 10),
}


@pytest.mark.parametrize(
    "case, place",
    [
        ("module", "epoch's end"),
        *[pytest.param(case, "mid-epoch", marks=pytest.mark.slow) for case in CASES],
        *[pytest.param(case, "amid an accumulation", marks=pytest.mark.slow) for case in CASES],
    ],
)
def test_a_signal_in_a_validation_saves_the_trained_weights(tmp_path, case, place):
    settings, nth = PLACES[place]
    whole, callback = train(tmp_path / "whole", case, Every(steps=1), **settings)
    by_step = {record.step: trained(record) for record in callback.records()}
    signal = At("on_validation_batch_start", nth, terminate)
    *_, last = ends(SystemExit, tmp_path / "cut", case, OnPreempt(), signal, **settings)
    assert "preemption" in last.reasons and torch.equal(trained(last), by_step[last.step])
    if place != "amid an accumulation":  # gradients are lost there
        assert train(tmp_path / "cut", case, OnPreempt(), resume=True, **settings)[0] == whole


@pytest.mark.parametrize(
    "case",
    [
        "back in the last hook",
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("in the hooks of the mode", "module")),
    ],
)
def test_a_save_after_a_validation_in_mid_epoch_holds_the_trained_weights(tmp_path, case, caplog):
    settings = dict(val_check_interval=4, max_epochs=1)
    _, callback = train(tmp_path / "plain", "nothing", Every(steps=1), **settings)
    expected = [trained(record) for record in callback.records()]
    _, callback = train(tmp_path / case, case, Every(steps=1), **settings)
    found = [trained(record) for record in callback.records()]
    assert [*map(torch.equal, found, expected)] == [True] * 10
    assert "the model still holds" not in caplog.text and "another callback" not in caplog.text


def test_weights_that_are_put_back_only_with_the_next_batch_are_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(CASES, "next batch", (BackInNextBatch, []))
    train(tmp_path, "next batch", Every(steps=1), val_check_interval=4, max_epochs=1)
    assert caplog.text.count("the model still holds the weights that were put into it for a validation") == 1


@pytest.mark.parametrize("case", ["module", pytest.param("callback", marks=pytest.mark.slow)])
def test_a_signal_in_the_validation_after_an_early_stop_saves_the_trained_weights(tmp_path, case):
    _, callback = train(tmp_path / "whole", case, Every(steps=1), StopsAt(13))
    records = ends(
        SystemExit, tmp_path / "cut", case, OnPreempt(), StopsAt(13), At("on_validation_batch_start", 6, terminate)
    )
    by_step = {record.step: trained(record) for record in callback.records()}
    assert records[-1].step == 13
    assert all(torch.equal(trained(record), by_step[record.step]) for record in records)


@pytest.mark.parametrize("case", ["module", "nothing", pytest.param("callback", marks=pytest.mark.slow)])
def test_an_exception_in_a_validation_saves_no_other_weights(tmp_path, case, caplog):
    error = At("on_validation_batch_start", 6, crash)
    records = ends(ZeroDivisionError, tmp_path, case, OnException() | Every(epochs=1), error)
    assert [record.step for record in records] == ([10, 20] if case == "nothing" else [10])
    assert caplog.text.count("nothing was saved, because the model holds other weights") == (case != "nothing")


@pytest.mark.parametrize(
    "settings",
    [
        dict(limit_val_batches=0),
        pytest.param(dict(val_check_interval=4), marks=pytest.mark.slow),
        pytest.param(dict(check_val_every_n_epoch=2), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_an_epoch_without_a_validation_prevents_no_later_save(tmp_path, caplog, settings):
    records = ends(ZeroDivisionError, tmp_path, "nothing", OnException() | Every(steps=11), Crash(12), **settings)
    assert [record.step for record in records] == [11, 12] and "in a validation" not in caplog.text


@pytest.mark.parametrize("case", ["module", "nothing"])
def test_a_file_of_another_callback_with_other_weights_is_mentioned(tmp_path, case, caplog):
    other = ModelCheckpoint(tmp_path / "other", save_top_k=-1, save_on_train_epoch_end=False)
    train(tmp_path / "own", case, Every(epochs=1), other, max_epochs=2)
    assert caplog.text.count("the file holds the weights that the script has put into the model") == (case != "nothing")
