"""The starting point of a trainer whose caller leaves it to the callback: ``resume``, and Lightning's "last"."""

import os
import warnings

import pytest
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.tuner import Tuner

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.errors import PolicyError, ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from ckpt_callbacks.run.process_fits import ProcessFits
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, Model, digest, fit, loaders, trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    module, fitter, _ = fit(tmp_path_factory.mktemp("whole"))
    return digest(module, fitter)


class Starts(Callback):
    def __init__(self):
        self.steps = []

    def on_train_start(self, fitter, module):
        self.steps.append(fitter.global_step)


def train(dirpath, *extra, ckpt_path=None, module=None, policy=EACH_EPOCH, resume="auto", **settings):
    """Train; returns the module, the trainer, and the steps at which its fits have begun."""
    seed_everything(7, verbose=False)
    module, starts = module or Model(), Starts()
    fitter = trainer(starts, *extra, LightningCheckpoint(dirpath, policy, resume=resume), **settings)
    fitter.fit(module, *loaders(), ckpt_path=ckpt_path)
    return module, fitter, starts.steps


@pytest.mark.parametrize(("resume", "ckpt_path"), [("auto", None), ("never", "last"), ({"optimizer": True}, "last")])
def test_a_killed_run_continues_with_the_command_that_began_it(tmp_path, whole, resume, ckpt_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*(no last checkpoint|ckpt_path=None)")
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, Crash(15), resume=resume, ckpt_path=ckpt_path)
        module, fitter, starts = train(tmp_path, resume=resume, ckpt_path=ckpt_path)
    assert starts == [10] and digest(module, fitter) == whole


def test_the_caller_of_fit_and_a_path_come_before_the_newest_checkpoint(tmp_path, whole):
    _, _, callback = fit(tmp_path)
    first, second, _ = (str(record.path) for record in callback.records()[:3])
    for arguments in ({"ckpt_path": first}, {"resume": first}, {"resume": second, "ckpt_path": first}):
        module, fitter, starts = train(tmp_path / "other", **arguments)
        assert starts == [10] and digest(module, fitter) == whole
    with pytest.raises(ResumeError, match="nowhere: is not a file"):
        train(tmp_path, resume=tmp_path / "nowhere")
    with pytest.raises(PolicyError, match="resume is True; expected 'auto', 'never' or a checkpoint's path"):
        LightningCheckpoint(tmp_path, EACH_EPOCH, resume=True)


def test_the_file_says_that_a_run_resumes_and_the_argument_comes_first(tmp_path):
    text = f"dirpath: {tmp_path / 'run'}\nsave: {{every: {{epochs: 1}}}}\nkeep: all\nresume: "
    begins = []
    for word, given in (("auto", None), ("auto", None), ("auto", "never"), ("never", "auto")):
        process_fits._fits.clear()  # as in a new process
        (tmp_path / "ckpt.yaml").write_text(text + word)
        starts = Starts()
        ours = LightningCheckpoint.from_yaml(tmp_path / "ckpt.yaml", resume=given)
        fitter = trainer(starts, ours, max_epochs=len(begins) + 1)
        fitter.fit(Model(), *loaders())
        begins += starts.steps
    assert begins == [0, 10, 0, 30]


def test_without_a_word_a_fit_starts_from_scratch(tmp_path, caplog):
    fit(tmp_path, max_epochs=1)
    seed_everything(7, verbose=False)
    starts = Starts()
    trainer(starts, LightningCheckpoint(tmp_path, EACH_EPOCH), max_epochs=1).fit(Model(), *loaders())
    assert starts.steps == [0] and "training starts from scratch; to continue" in caplog.text
    _, _, starts = train(tmp_path, max_epochs=1)
    assert starts == [0] and "trained another model here, so a new run begins from scratch" in caplog.text
    _, fitter, starts = train(tmp_path, fast_dev_run=2)
    assert starts == [0] and fitter.global_step == 2


def test_a_further_fit_trains_on(tmp_path):
    module, fitter, _ = train(tmp_path, max_epochs=1)
    fitter.fit_loop.max_epochs = 2
    fitter.fit(module, *loaders())
    assert fitter.global_step == 20
    _, _, starts = train(tmp_path, module=module, max_epochs=1)  # a second phase, with a trainer of its own
    assert starts == [0]


def test_a_script_with_two_phases_continues_in_the_second(tmp_path, caplog):
    def run(dirpath, *crash):
        seed_everything(1, verbose=False)
        ProcessFits.of(dirpath).forget()  # as in a new process
        module, policy = Model(), Policy(Every(epochs=1), KeepLast(1))
        _, _, first = train(dirpath, module=module, policy=policy, max_epochs=2)
        _, fitter, second = train(dirpath, *crash, module=module, policy=policy)
        return first, second, digest(module, fitter)

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", Crash(15))
    *starts, found = run(tmp_path / "cut")
    assert starts == [[], [10]] and found == run(tmp_path / "whole")[-1]
    assert "from scratch" not in caplog.text and "give each" not in caplog.text


def test_of_a_model_checkpoint_beside_it_only_a_later_step_wins(tmp_path, caplog):
    def run(*crash, **theirs):
        beside = ModelCheckpoint(tmp_path / "theirs", save_last=True, **theirs)
        return train(tmp_path / "run", beside, *crash, ckpt_path="last")[2]

    with pytest.raises(ZeroDivisionError):
        run(Crash(15), every_n_epochs=1)
    os.utime(tmp_path / "theirs" / "last.ckpt")  # newer, but no further
    with pytest.raises(ZeroDivisionError):
        run(Crash(19), every_n_train_steps=9)
    assert "is loaded instead" not in caplog.text
    assert run() == [18]
    assert (
        "last-v1.ckpt, of another callback, is at step 18, so it is loaded instead of Model-001-10.ckpt" in caplog.text
    )


@pytest.mark.parametrize("call", ["validate", "test", "predict"])
def test_last_means_the_newest_checkpoint_for_an_evaluation_too(tmp_path, monkeypatch, call):
    monkeypatch.setattr(Model, "predict_step", lambda self, batch, index: self.net(batch[0]), raising=False)
    module, _, callback = fit(tmp_path, max_epochs=1)
    newest = callback.last()
    for damaged in (False, True):
        module, evaluator = Model(), trainer(LightningCheckpoint(tmp_path, EACH_EPOCH, resume="auto"))
        getattr(evaluator, call)(module, loaders()[1], ckpt_path="last")
        assert evaluator.ckpt_path == (None if damaged else str(newest.path))
        os.truncate(newest.path, 100)


def test_last_is_looked_for_in_the_directory_of_the_logger_too(tmp_path, caplog):
    _, _, callback = fit(tmp_path / "checkpoints", max_epochs=1)
    newest = callback.last()
    evaluator = trainer(LightningCheckpoint(policy=EACH_EPOCH), default_root_dir=tmp_path)
    evaluator.validate(Model(), loaders()[1], ckpt_path="last", verbose=False)
    assert evaluator.ckpt_path == str(newest.path)
    os.truncate(newest.path, 100)
    evaluator.validate(Model(), loaders()[1], ckpt_path="last", verbose=False)
    assert 'ckpt_path is "last", and its checkpoints cannot be loaded, so none is loaded' in caplog.text
    evaluator = trainer(LightningCheckpoint(policy=EACH_EPOCH), default_root_dir=tmp_path / "other")
    evaluator.validate(Model(), loaders()[1], ckpt_path="last", verbose=False)
    assert 'other/checkpoints: ckpt_path is "last", and there is no checkpoint yet, so none is loaded' in caplog.text


def test_a_search_for_a_learning_rate_loads_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(tmp_path, max_epochs=1)
    starts, module = Starts(), Model()
    module.lr = 0.02
    fitter = trainer(starts, LightningCheckpoint(tmp_path, EACH_EPOCH, resume=str(tmp_path / "last.ckpt")))
    Tuner(fitter).lr_find(module, *loaders(), num_training=5, update_attr=False)
    fitter.fit(module, *loaders())
    assert starts.steps[-1] == 10 and fitter.global_step == 30
