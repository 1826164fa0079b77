"""The checkpoints and records of `LightningCheckpoint`, with a real Trainer."""

import errno
import os
import subprocess
import sys
import time

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from ckpt_callbacks import (
    DirectoryInUse,
    Every,
    Improves,
    KeepAll,
    KeepBest,
    KeepLast,
    MetricError,
    OnDeadline,
    OnException,
    Policy,
    Predicate,
)
from ckpt_callbacks.formats.torch.file import TorchFile
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.testing import FakeClock
from tests.adapters.lightning.task import BATCHES, EACH_EPOCH, VAL, Model, fit, loaders, trainer, weights

OPEN_PLAINLY = """
import sys, importlib.util, torch, lightning
sys.modules["ckpt_callbacks"] = None  # importing it raises
class Model(lightning.LightningModule):
    def __init__(self, width=8):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, width), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(width, 1))
path = sys.argv[1]
loaded = torch.load(path, weights_only=True)
module = Model.load_from_checkpoint(path, width=8)
assert all(torch.equal(loaded["state_dict"][k], v) for k, v in module.state_dict().items())
total = torch.cat([p.detach().flatten() for p in module.parameters()]).double().sum()
print(float(total), "optimizer_states" in loaded)
"""


def plainly(path):
    """What plain torch and Lightning read, in a process where this package cannot be imported."""
    done = subprocess.run([sys.executable, "-c", OPEN_PLAINLY, path], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    total, full = done.stdout.split()
    return float(total), full == "True"


@pytest.mark.parametrize("contents", ["full", "weights"])
def test_files_open_without_this_package(tmp_path, contents):
    module, _, callback = fit(tmp_path, arguments={"contents": contents})
    total, has_optimizer = plainly(callback.last().path)
    assert total == float(weights(module).double().sum())
    assert has_optimizer == (contents == "full")
    assert callback.last().resumable == (contents == "full")
    assert (callback.resume_path() is not None) == (contents == "full")


def test_records_know_their_metrics_and_facts(tmp_path):
    _, _, callback = fit(tmp_path, arguments={"metadata": {"dataset": "diabetes"}, "filename": "{dataset}-{epoch:02d}"})
    assert [(r.step, r.epoch, r.path.name) for r in callback.records()] == [
        (BATCHES * e, e, f"diabetes-{e:02d}.ckpt") for e in (1, 2, 3)
    ]
    record = callback.records()[1]
    assert {"val_loss", "train_loss"} <= record.metrics.keys()
    assert record.metadata["seed"] == 7 and record.metadata["hyperparameters"] == {"width": 8}
    assert record.metadata["model"] == "Model" and record.metadata["learning_rate"] == [0.01]
    assert "lightning" in record.metadata["environment"]["packages"]


def test_aliases_are_relative_links(tmp_path):
    _, _, callback = fit(tmp_path, Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL)))
    assert {name: os.readlink(tmp_path / f"{name}.ckpt") for name in ("last", "best", "final")} == {
        "last": callback.last().file, "best": callback.best().file, "final": callback.final().file,
    }  # fmt: skip


def test_a_step_save_has_no_metric_of_other_weights(tmp_path):
    _, _, callback = fit(tmp_path, Policy(Every(steps=4) | Improves(VAL), KeepBest(1, by=VAL) | KeepAll()))
    ranked = {r.step for r in callback.records() if VAL.score(r) is not None}
    assert {r.step for r in callback.records()} >= {4, 8, 12, 16, 24, 28}
    assert ranked <= {10, 20, 30}, "validation ran after steps 10, 20 and 30 only"


@pytest.mark.parametrize("interval, validated", [(0.5, {5, 10, 15, 20, 25, 30}), (4, {4, 8, 14, 18, 24, 28})])
def test_a_validation_in_mid_epoch_is_one_event_with_its_step(tmp_path, interval, validated):
    _, _, callback = fit(tmp_path, Policy(Every(steps=1), KeepAll()), val_check_interval=interval)
    by_step = {r.step: r for r in callback.records()}
    assert set(by_step) == set(range(1, 31)), "each step is saved once"
    assert {step for step, r in by_step.items() if "val_loss" in r.metrics} == validated
    assert {step for step, r in by_step.items() if "train_loss_epoch" in r.metrics} == {10, 20, 30}


def test_gradient_accumulation_counts_optimizer_steps(tmp_path):
    _, fitter, callback = fit(tmp_path, Policy(Every(steps=1), KeepAll()), accumulate_grad_batches=3)
    assert [r.step for r in callback.records()] == list(range(1, fitter.global_step + 1))
    assert fitter.global_step == 12  # 10 batches are 4 steps


def test_training_time_triggers_follow_the_clock(tmp_path):
    clock = FakeClock()

    class Tick(Callback):
        def on_train_batch_start(self, *_):
            clock.advance(20)

    policy = Policy(Every(minutes=1), KeepAll())
    _, _, callback = fit(tmp_path, policy, extra=[Tick()], arguments={"clock": clock}, max_epochs=1)
    assert [(r.step, r.time) for r in callback.records()] == [(3, 60), (6, 120), (9, 180), (10, 200)]


def test_a_deadline_is_met_without_waiting_for_a_validation(tmp_path, monkeypatch):
    clock = FakeClock()
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(clock.wall() + 800))
    seen = []

    class Tick(Callback):
        def on_train_batch_start(self, *_):
            clock.advance(20)

        def on_validation_start(self, trainer, module):
            callback.wait()
            seen.append([record.step for record in callback.records()])

    callback = LightningCheckpoint(
        tmp_path, Policy(Every(epochs=1) | OnDeadline("10 min"), KeepAll()), clock=clock, background=False
    )
    trainer(Tick(), callback, num_sanity_val_steps=0).fit(Model(), *loaders())
    assert seen[0] == [10], "saved before the first epoch's validation"
    assert callback.records()[0].reasons[0] == "10 minutes before the deadline"
    assert [(record.step, record.epoch) for record in callback.records()] == [(10, 1), (20, 2), (30, 3)], "once"


def test_nothing_is_saved_outside_of_fit(tmp_path):
    callback = LightningCheckpoint(tmp_path / "run", Policy(Predicate(lambda event: True)))
    fitter = trainer(callback, fast_dev_run=True)
    fitter.fit(Model(), *loaders())
    fitter = trainer(callback)
    fitter.validate(Model(), loaders()[1])
    fitter.test(Model(), loaders()[1])
    assert not (tmp_path / "run").exists()


def test_the_sanity_check_is_no_event(tmp_path):
    seen = []
    policy = Policy(Predicate(lambda event: seen.append((event.kind.value, event.step)) or False))
    fit(tmp_path, policy, max_epochs=1)
    assert [s for s in seen if s[0] != "step_end"] == [("epoch_end", 10), ("end", 10)]
    assert [s for s in seen if s[0] == "step_end"] == [("step_end", step) for step in range(1, 10)]


def test_two_callbacks_on_one_trainer(tmp_path):
    other = LightningCheckpoint(tmp_path / "b", Policy(Every(epochs=2), KeepAll()))
    _, _, callback = fit(tmp_path / "a", extra=[other])
    assert [r.epoch for r in callback.records()] == [1, 2, 3]
    assert [r.epoch for r in other.records()] == [2, 3]
    _, _, callback = fit(tmp_path / "a", extra=[other], resume=True, max_epochs=4)
    assert [r.epoch for r in callback.records()] == [1, 2, 3, 4]


def test_two_callbacks_in_one_directory_are_refused(tmp_path):
    other = LightningCheckpoint(tmp_path, EACH_EPOCH, filename="x")
    with pytest.raises(RuntimeError, match=r"state_key|LightningCheckpoint") as caught:
        fit(tmp_path, extra=[other])
    assert "LightningCheckpoint" in str(caught.value)


def test_two_trainings_in_one_directory_are_refused(tmp_path):
    class Second(Callback):
        def on_train_epoch_start(self, *_):
            with pytest.raises(DirectoryInUse, match="both write here"):
                fit(tmp_path)

    fit(tmp_path, extra=[Second()], max_epochs=1)


def test_best_path_works_and_last_is_refused(tmp_path):
    _, fitter, callback = fit(tmp_path)
    assert fitter.test(ckpt_path="best", dataloaders=loaders()[1], verbose=False)
    assert callback.best_model_path == str(callback.best().path)
    assert float(callback.best_model_score) == pytest.approx(callback.best().metrics["val_loss"])
    assert set(callback.best_k_models) == {str(r.path) for r in callback.records()}
    with pytest.raises(Exception, match=r"ckpt_path=ckpt.resume_path\(\)"):
        trainer(LightningCheckpoint(tmp_path, EACH_EPOCH)).fit(Model(), *loaders(), ckpt_path="last")


def test_loggers_are_told_once_the_file_is_there(tmp_path):
    told = []

    class Logger(CSVLogger):
        def after_save_checkpoint(self, callback):
            told.append((callback.last().step, callback.last().status.value, callback.last().path.exists()))

    fit(tmp_path / "run", logger=Logger(tmp_path / "logs"))
    assert told == [(10, "verified", True), (20, "verified", True), (30, "verified", True), (30, "verified", True)]


def test_a_failed_save_does_not_end_training(tmp_path, monkeypatch, caplog):
    real, calls = TorchFile.write, []

    def failing(content, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(content, path)

    monkeypatch.setattr(TorchFile, "write", failing)
    _, fitter, callback = fit(tmp_path, arguments={"background": False})
    assert fitter.global_step == 30
    assert [r.epoch for r in callback.records()] == [1, 2, 3] and callback.records()[1].step == 21
    assert "older checkpoints are untouched" in caplog.text
    assert not list((tmp_path / ".ckpt" / "staging").iterdir())


def test_a_failed_save_can_raise(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TorchFile, "write", failing)
    with pytest.raises(Exception, match="No space left on device"):
        fit(tmp_path, arguments={"on_error": "raise"})


def test_a_flaky_write_is_tried_again(tmp_path, monkeypatch):
    real, calls = TorchFile.write, []

    def flaky(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a hiccup")
        return real(*args, **kwargs)

    monkeypatch.setattr(TorchFile, "write", flaky)
    _, _, callback = fit(tmp_path)
    assert [r.step for r in callback.records()] == [10, 20, 30]


def test_a_metric_that_is_never_logged_is_an_error_that_names_the_others(tmp_path):
    from ckpt_callbacks import Metric

    with pytest.raises(MetricError, match=r"'vall_loss' was never logged; logged were: .*train_loss.*val_loss"):
        fit(tmp_path, Policy(Improves(Metric("vall_loss", mode="min"))))


def test_a_metric_that_comes_every_other_epoch_is_waited_for(tmp_path):
    _, _, callback = fit(tmp_path, check_val_every_n_epoch=2)
    assert [("val_loss" in r.metrics) for r in callback.records()] == [False, True, False]


def test_an_exception_is_saved_but_never_best(tmp_path):
    class Crash(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 13:
                raise ZeroDivisionError("crash")

    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, Policy(Improves(VAL) | OnException(), KeepBest(1, by=VAL) | KeepAll()), extra=[Crash()])
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    assert [(r.step, r.exceptional) for r in callback.records()] == [(10, False), (13, True)]
    assert callback.best().step == 10 and callback.last().step == 13
    fit(tmp_path, resume=True, max_epochs=2)  # and the lock is free


def test_hyperparameters_with_a_path_still_load_safely(tmp_path):
    class WithPath(Model):
        def __init__(self, root):
            super().__init__()
            self.save_hyperparameters("root")

    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    trainer(callback, max_epochs=1).fit(WithPath(tmp_path), *loaders())
    loaded = torch.load(callback.last().path, weights_only=True)
    assert loaded["hyper_parameters"]["root"] == str(tmp_path)


def test_an_asynchronous_plugin_is_refused(tmp_path):
    from lightning.pytorch.plugins.io import AsyncCheckpointIO

    with pytest.raises(Exception, match=r"AsyncCheckpointIO.*remove the plugin"):
        fit(tmp_path, plugins=[AsyncCheckpointIO()])


def test_lightning_cli(tmp_path):
    from lightning.pytorch.cli import LightningCLI

    config = {
        "trainer": {
            "max_epochs": 1, "logger": False, "accelerator": "cpu", "enable_progress_bar": False,
            "callbacks": [
                {
                    "class_path": "ckpt_callbacks.lightning.LightningCheckpoint",
                    "init_args": {
                        "dirpath": str(tmp_path / "inline"),
                        "policy": {"save": [{"every": {"epochs": 1}}], "keep": [{"last": 2}]},
                    },
                }
            ],
        }
    }  # fmt: skip
    text = "save: [{every: {steps: 5}}]\nkeep: all\n"
    (tmp_path / "ckpt.yaml").write_text(text)

    class DataModule(lightning.LightningDataModule):
        def train_dataloader(self):
            return loaders()[0]

        def val_dataloader(self):
            return loaders()[1]

    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert [p.name for p in (tmp_path / "inline").glob("Model*")] == ["Model-001-10.ckpt"]
    callback = config["trainer"]["callbacks"][0]
    callback["init_args"] = {"dirpath": str(tmp_path / "file"), "policy": str(tmp_path / "ckpt.yaml")}
    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert len(list((tmp_path / "file").glob("Model*"))) == 2


def _write(tmp_path, config):
    import json

    path = tmp_path / "cli.yaml"
    path.write_text(json.dumps(config))
    return path


def test_somebody_elses_file_with_the_name_of_an_alias_is_left_alone_and_said(tmp_path, caplog):
    (tmp_path / "last.ckpt").write_text("mine")
    fit(tmp_path)
    assert (tmp_path / "last.ckpt").read_text() == "mine"
    assert caplog.text.count("cannot create the 'last' link") == 1


def test_an_unknown_name_in_the_template_is_said_at_the_first_epochs_end(tmp_path, caplog):
    fit(tmp_path, arguments={"filename": "{epoch}-{val_los:.3f}"})
    assert "filename: {val_los} was never logged; logged were: " in caplog.text


def test_weights_alone_warn_when_the_callback_is_built(tmp_path, caplog):
    LightningCheckpoint(tmp_path, EACH_EPOCH, contents="weights")
    assert "cannot be resumed" in caplog.text


def test_a_logger_that_raises_at_the_end_is_logged_and_leaves_the_trainer_as_it_was(tmp_path, monkeypatch, caplog):
    """Training has failed while a save was being read back, so that the logger hears of it last of all."""

    class Broken(CSVLogger):
        def after_save_checkpoint(self, callback):
            raise ZeroDivisionError

    class Fails(Callback):
        def on_train_batch_start(self, fitter, module, batch, index):
            if index == 5:
                raise RuntimeError("out of memory")

    def slowly(*arguments, **settings):
        time.sleep(0.3)
        verify(*arguments, **settings)

    monkeypatch.setattr("ckpt_callbacks.run.committer.verify", slowly)
    callback = LightningCheckpoint(tmp_path / "run", Policy(Every(steps=5)))
    fitter = trainer(Fails(), callback, logger=Broken(tmp_path))
    plugin = fitter.strategy.checkpoint_io
    with pytest.raises(RuntimeError, match="out of memory"):
        fitter.fit(Model(), *loaders())
    assert "a listener failed on Model-000-5.ckpt: ZeroDivisionError" in caplog.text
    assert fitter.strategy.checkpoint_io is plugin and callback._fit is None
    assert callback.last().step == 5


UNUSUAL = {
    "sparse": lambda: torch.eye(4).to_sparse(),
    "sparse, not coalesced": lambda: torch.sparse_coo_tensor([[1, 1]], [1.0, 2.0], (3,)),
    "compressed": lambda: torch.eye(4).to_sparse_csr(),
    "conjugated": lambda: torch.tensor([1 + 2j, 3j]).conj(),
    "negated": lambda: torch.tensor([1 + 2j, 3j]).conj().imag,
    "not a number": lambda: torch.tensor([float("nan")]),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_the_last_state_is_one_file_whatever_kinds_of_tensors_are_in_it(tmp_path, kind):
    module, callback = Model(), LightningCheckpoint(tmp_path, EACH_EPOCH)
    module.register_buffer("unusual", UNUSUAL[kind]())
    trainer(callback, max_epochs=1).fit(module, *loaders())
    (record,) = callback.records()
    assert record.final and record.resumable
    again = Model()
    again.register_buffer("unusual", UNUSUAL[kind]())
    trainer(fresh := LightningCheckpoint(tmp_path, EACH_EPOCH), max_epochs=2).fit(
        again, *loaders(), ckpt_path=fresh.resume_path()
    )
    assert [(r.step, r.final, r.resumable) for r in fresh.records()] == [(10, True, True), (20, True, True)]


class Extra:
    """Stands in a checkpoint beside the weights, where no file that is not trusted may have it."""

    def __init__(self, at):
        self.at = at


@pytest.mark.parametrize("changed", [False, True])
def test_the_last_state_is_compared_where_others_put_objects_into_the_file(tmp_path, changed, caplog):
    class Adds(Callback):
        def on_save_checkpoint(self, fitter, module, checkpoint):
            checkpoint["extra"] = Extra(fitter.global_step)

        def on_train_end(self, fitter, module):
            if changed:
                module.net[0].weight.data.zero_()

    _, _, callback = fit(tmp_path, extra=[Adds()], max_epochs=1)
    kinds = [(record.final, record.resumable) for record in callback.records()]
    assert kinds == ([(False, True), (True, False)] if changed else [(True, True)])
    assert "compared" not in caplog.text
