"""Resumes with optimizers other than those that wrote the checkpoint."""

import pytest
import torch

from ckpt_callbacks import Every, KeepAll, Policy, PolicyError
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer, weights


class Optimized(Model):
    make = None

    def configure_optimizers(self):
        return self.make(self)


def made(make, kind=Optimized):
    module = kind()
    object.__setattr__(module, "make", make)  # not as an argument, which would be a hyperparameter
    return module


def train(dirpath, make, epochs=1, only=None, resume=True, policy=EACH_EPOCH, kind=Optimized):
    callback, module = LightningCheckpoint(dirpath, policy), made(make, kind)
    fitter = trainer(callback, max_epochs=epochs)
    path = callback.resume_path(only=only) if resume else None
    fitter.fit(module, *loaders(), ckpt_path=path)
    return module, fitter, callback


def adam(module):
    return torch.optim.Adam(module.parameters(), 0.02)


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)


def of_the_head(module):
    return torch.optim.Adam(module.net[3].parameters(), 0.02)


def in_groups(module):
    return torch.optim.Adam([{"params": part.parameters()} for part in (module.net[0], module.net[3])], 0.02)


OTHERS = {
    "another optimizer": (adam, sgd, "was written with Adam, and the script has SGD"),
    "another one with the same settings": (adam, lambda m: torch.optim.Adamax(m.parameters()), "with Adam, .* Adamax"),
    "fewer parameters": (adam, of_the_head, "one group of 2 parameters in the script, and one group of 4"),
    "more groups": (adam, in_groups, "2 groups of 2, 2 parameters in the script, and one group of 4"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimizer_is_refused_in_one_line_that_says_what_to_do(tmp_path, name):
    first, second, what = OTHERS[name]
    train(tmp_path, first)
    module = made(second)
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    with pytest.raises(ResumeError, match=what) as caught:
        trainer(callback, max_epochs=2).fit(module, *loaders(), ckpt_path=callback.resume_path())
    assert 'resume_path(only=["weights", "step"])' in str(caught.value)
    _, fitter, callback = train(tmp_path, second, 2, only=["weights", "step"])
    assert (fitter.global_step, [record.step for record in callback.records()]) == (20, [10, 20])


@pytest.mark.parametrize("ckpt_path, resume", [("{}", "auto"), (None, "{}"), ("last", "auto")])
def test_the_remedy_of_each_way_to_resume_works(tmp_path, ckpt_path, resume):
    """The message says what to pass to the callback and to `fit`; a path stays the one that was asked for."""
    older = train(tmp_path, adam, 2)[2].records()[0].path

    def attempt(resume, ckpt_path):
        process_fits._fits.clear()  # as in a new process
        callback, module = LightningCheckpoint(tmp_path, EACH_EPOCH, resume=resume), made(sgd)
        fitter = trainer(callback, max_epochs=3)
        fitter.fit(module, *loaders(), ckpt_path=ckpt_path)
        return fitter.global_step, callback.last().parent

    with pytest.raises(ResumeError) as caught:
        attempt(resume.format(older), ckpt_path and ckpt_path.format(older))
    remedy = str(caught.value).partition("to continue with a new one, ")[2]
    if ckpt_path == "last":
        assert remedy == "pass resume={'optimizer': False}"
        assert attempt({"optimizer": False}, ckpt_path) == (30, 2)
    else:
        assert remedy == (
            f"pass resume={{'optimizer': False}} to the callback, and ckpt_path={str(older)!r} to trainer.fit"
        )
        attempt({"optimizer": False}, str(older))
        records = LightningCheckpoint(tmp_path, EACH_EPOCH).records()
        assert [(r.step, r.superseded) for r in records] == [(10, False), (20, True), (20, False), (30, False)]


class TwoOptimizers(Optimized):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        optimizers = self.optimizers()
        loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.step()
            optimizer.zero_grad()

    def on_train_epoch_end(self):
        pass


def two(module):
    return [torch.optim.Adam(part.parameters(), 0.02) for part in (module.net[0], module.net[3])]


def test_another_number_of_optimizers_is_not_restored_in_part(tmp_path):
    train(tmp_path, two, kind=TwoOptimizers)
    with pytest.raises(ResumeError, match="holds 2 optimizers, and the script has 1"):
        train(tmp_path, adam, 2, kind=TwoOptimizers)


def test_a_file_without_the_classes_is_judged_by_its_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("ckpt_callbacks.lightning.progress.optimizer_classes", lambda trainer: None)
    train(tmp_path, adam)
    with pytest.raises(ResumeError, match="was not written with SGD: the file lacks momentum, dampening"):
        train(tmp_path, sgd, 2)


class Own(torch.optim.Adam):
    """An optimizer that takes the place of the one that it is derived from."""


def test_a_derived_optimizer_continues_and_the_log_says_whose_settings_apply(tmp_path, caplog):
    train(tmp_path, adam)
    _, fitter, _ = train(tmp_path, lambda m: Own(m.parameters(), 0.5), 2)
    assert fitter.global_step == 20 and fitter.optimizers[0].param_groups[0]["lr"] == 0.02
    assert "was written with Adam, and the script has Own: the settings in the checkpoint apply" in caplog.text


def test_the_same_optimizer_with_a_schedule_or_other_settings_does_not_count_as_another(tmp_path, caplog):
    train(tmp_path, lambda m: [[opt := adam(m)], [torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, 30)]])
    train(tmp_path, lambda m: torch.optim.Adam(m.parameters(), 0.5, amsgrad=True), 2)
    assert "the script has" not in caplog.text


def test_only_weights_and_step_continue_at_the_step_with_a_new_optimizer(tmp_path, caplog):
    first, *_ = train(tmp_path, adam, policy=Policy(Every(steps=15), KeepAll()), epochs=2)
    before = weights(first)
    module, fitter, callback = train(tmp_path, lambda m: torch.optim.SGD(m.parameters(), 0.0), 3, ["weights", "step"])
    assert torch.equal(weights(module), before) and fitter.global_step == 30
    assert "resuming only from its weights and step" in caplog.text
    assert callback.last().parent is not None


def test_the_setting_holds_for_any_path(tmp_path):
    _, _, first = train(tmp_path, adam)
    callback, module = LightningCheckpoint(tmp_path, EACH_EPOCH, resume={"optimizer": False}), made(sgd)
    fitter = trainer(callback, max_epochs=2)
    fitter.fit(module, *loaders(), ckpt_path=first.last().path)
    assert fitter.global_step == 20 and fitter.optimizers[0].param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("in_yaml", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_mapping_resumes_without_a_path_as_auto_does(tmp_path, caplog, in_yaml):
    train(tmp_path, adam)
    process_fits._fits.clear()  # as in a new process
    policy, resume = {"save": {"every": {"epochs": 1}}, "keep": "all"}, {"optimizer": False}
    arguments = (policy | {"resume": resume}, None) if in_yaml else (policy, resume)
    callback = LightningCheckpoint(tmp_path, arguments[0], resume=arguments[1])
    fitter = trainer(callback, max_epochs=2)
    fitter.fit(made(sgd), *loaders())
    assert fitter.global_step == 20 and fitter.optimizers[0].param_groups[0]["lr"] == 0.01
    assert "starts from scratch" not in caplog.text and not any(record.superseded for record in callback.records())


def test_the_weights_alone_begin_a_new_run_without_a_path(tmp_path):
    first, *_ = train(tmp_path, adam)
    process_fits._fits.clear()  # as in a new process
    module = made(lambda m: torch.optim.SGD(m.parameters(), 0.0))
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH, resume={"optimizer": False, "step": False})
    fitter = trainer(callback, max_epochs=1)
    fitter.fit(module, *loaders())
    assert torch.equal(weights(module), weights(first)) and fitter.global_step == 10


def test_only_weights_begin_a_new_run(tmp_path):
    first, *_ = train(tmp_path, adam)
    module, fitter, callback = train(tmp_path, lambda m: torch.optim.SGD(m.parameters(), 0.0), 1, ["weights"])
    assert torch.equal(weights(module), weights(first))
    assert fitter.global_step == 10 and [record.attempt for record in callback.records()] == [1]


def test_only_weights_and_optimizer_begin_at_step_0(tmp_path):
    train(tmp_path, adam)
    _, fitter, callback = train(tmp_path, adam, 1, ["weights", "optimizer"])
    assert fitter.global_step == 10 and callback.last().step == 10
    assert int(next(iter(fitter.optimizers[0].state.values()))["step"]) == 20


def test_all_parts_are_a_plain_resume(tmp_path):
    train(tmp_path, adam)
    _, fitter, _ = train(tmp_path, adam, 2, ["step", "weights", "optimizer"])
    assert fitter.global_step == 20


@pytest.mark.parametrize("only", [["optimizer"], ["weights", "epoch"], "weights", []])
def test_unknown_parts_are_one_clear_line(tmp_path, only):
    with pytest.raises(PolicyError, match=r"resume_path: only is .*; expected a list of 'weights' and any of"):
        LightningCheckpoint(tmp_path, EACH_EPOCH).resume_path(only=only)
