"""A fit that an earlier start of the script has completed: what follows it sees what it saw then."""

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, KeepAll, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer


def begin():
    process_fits._fits.clear()  # as in a new process
    seed_everything(7, verbose=False)


def facts(ours):
    """What the callback answers, and the next random number."""
    names = [record and record.file for record in (ours.best(), ours.last(), ours.final())]
    return names, [record.file for record in ours.records()], torch.rand(1)


@pytest.mark.parametrize(("first", "second"), [(2, 3), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_between_two_fits_the_callback_answers_as_before(tmp_path, caplog, first, second):
    def run(*crash):
        begin()
        module, ours = Model(), LightningCheckpoint(tmp_path, EACH_EPOCH, resume="auto")
        fitter = trainer(ours, max_epochs=first)
        fitter.fit(module, *loaders())
        found = facts(ours), fitter.test(module, loaders()[1], ckpt_path="best", verbose=False)
        trainer(ours, *crash, max_epochs=second).fit(module, *loaders())
        return found

    with pytest.raises(ZeroDivisionError):
        run(Crash(15))
    caplog.clear()
    again = run()
    assert "nothing left to train" in caplog.text and "is the best by" not in caplog.text
    assert again == run() and again[0][0] == [again[0][0][0], *[f"Model-00{first}-{first}0.ckpt"] * 2]
    assert len(again[0][1]) == first


@pytest.mark.parametrize("place", [26, pytest.param(32, marks=pytest.mark.slow)])
def test_last_in_each_of_two_fits_means_the_newest_within_its_epochs(tmp_path, place):
    def run(dirpath, *crash):
        begin()
        module, starts = Model(), []
        ours = LightningCheckpoint(dirpath, Policy(Every(steps=4) | Every(epochs=1), KeepAll(), best_by="val_loss"))
        for epochs, extra in ((2, ()), (4, crash)):
            trainer(ours, *extra, max_epochs=epochs).fit(module, *loaders(), ckpt_path="last")
            starts.append(ours.last().step)
        return starts, module.net[0].weight

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", Crash(place))
    (steps, found), (_, expected) = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert steps == [20, 40] and torch.equal(found, expected)


def test_another_training_after_a_completed_one_draws_the_same_numbers(tmp_path, caplog):
    def run(dirpath, *crash):
        begin()
        for name, extra in (("a", ()), ("b", crash)):
            module = Model()
            fitter = trainer(LightningCheckpoint(dirpath / name, EACH_EPOCH, resume="auto"), *extra, max_epochs=2)
            fitter.fit(module, *loaders())
        return module.net[0].weight

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", Crash(5))
    again = run(tmp_path / "cut")
    assert torch.equal(again, run(tmp_path / "whole")) and "random state" not in caplog.text


class DrawAtEnd(Callback):
    def on_train_end(self, *_):
        torch.rand(3)


@pytest.mark.parametrize("case", ["steps", pytest.param("hook", marks=pytest.mark.slow)])
def test_an_end_whose_random_state_is_not_known_is_named(tmp_path, caplog, case):
    extra, limit = ([DrawAtEnd()], {"max_epochs": 1}) if case == "hook" else ([], {"max_steps": 5, "max_epochs": -1})
    policy = EACH_EPOCH if case == "hook" else Policy(Every(steps=5), KeepLast(1) | KeepAll())
    for _ in range(2):
        begin()
        trainer(*extra, LightningCheckpoint(tmp_path, policy, resume="auto"), **limit).fit(Model(), *loaders())
    assert caplog.text.count("the random state at the end of this fit is not known") == 1
