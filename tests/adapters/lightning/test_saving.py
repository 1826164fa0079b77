"""Saves of a real Trainer: when they happen, and what is recorded and reported."""

import os
import time

import pytest
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
    PolicyError,
    Predicate,
)
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.testing import FakeClock
from tests.adapters.lightning.task import BATCHES, EACH_EPOCH, VAL, Model, fit, loaders, trainer


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


def test_the_sanity_check_does_not_count_as_an_event(tmp_path):
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
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    own, other = (LightningCheckpoint(tmp_path / "a", Policy(Every(epochs=n), KeepAll())) for n in (1, 2))
    by_link = LightningCheckpoint(tmp_path / "link", monitor="val_loss")
    with pytest.raises(DirectoryInUse) as caught:
        trainer(own, other)
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: LightningCheckpoint (saves: every 1 epoch) and LightningCheckpoint (saves: every 2 epochs) "
        "in this process both write here; give each callback its own directory, or join their rules with | in one "
        "policy"
    )
    with pytest.raises(DirectoryInUse, match=r"or val_loss improves or preemption.* both write here"):
        trainer(own, by_link)
    with pytest.raises(PolicyError, match="this LightningCheckpoint was passed more than once; expected once"):
        trainer(own, own)
    trainer(own, LightningCheckpoint(tmp_path / "b", EACH_EPOCH))


def test_two_callbacks_that_take_the_loggers_directory_are_refused(tmp_path):
    two = [LightningCheckpoint(policy=EACH_EPOCH), LightningCheckpoint(monitor="val_loss")]
    with pytest.raises(DirectoryInUse, match="both write here; give each callback its own directory"):
        trainer(*two, default_root_dir=tmp_path).fit(Model(), *loaders())
    assert not list(tmp_path.rglob("[!.]*.ckpt"))


def test_two_runs_in_one_directory_are_refused(tmp_path):
    class Second(Callback):
        def on_train_epoch_start(self, *_):
            with pytest.raises(DirectoryInUse, match="both write here"):
                fit(tmp_path)

    fit(tmp_path, extra=[Second()], max_epochs=1)


def test_the_path_of_the_best_one_works(tmp_path):
    _, fitter, callback = fit(tmp_path)
    assert fitter.test(ckpt_path="best", dataloaders=loaders()[1], verbose=False)
    assert callback.best_model_path == str(callback.best().path)
    assert float(callback.best_model_score) == pytest.approx(callback.best().metrics["val_loss"])
    assert set(callback.best_k_models) == {str(r.path) for r in callback.records()}


def test_loggers_are_notified_once_the_file_exists(tmp_path):
    told = []

    class Logger(CSVLogger):
        def after_save_checkpoint(self, callback):
            told.append((callback.last().step, callback.last().status.value, callback.last().path.exists()))

    fit(tmp_path / "run", logger=Logger(tmp_path / "logs"))
    assert told == [(10, "verified", True), (20, "verified", True), (30, "verified", True), (30, "verified", True)]


def test_loggers_find_each_checkpoint_although_later_ones_have_been_saved(tmp_path):
    told = []

    class Logger(CSVLogger):
        def after_save_checkpoint(self, callback):
            time.sleep(0.02)
            told.append(callback.last_model_path)

    policy = Policy(Every(steps=1), KeepAll())
    logger = Logger(tmp_path / "logs")
    _, _, callback = fit(tmp_path / "run", policy, logger=logger, arguments={"max_pending": 4}, max_epochs=1)
    assert {*told} == {str(record.path) for record in callback.records()}


def test_a_metric_that_is_never_logged_is_an_error_that_names_the_others(tmp_path):
    from ckpt_callbacks import Metric

    with pytest.raises(MetricError, match=r"'vall_loss' was never logged; logged names: .*train_loss.*val_loss"):
        fit(tmp_path, Policy(Improves(Metric("vall_loss", mode="min"))), num_sanity_val_steps=0)


def test_a_metric_that_comes_every_other_epoch_is_no_error(tmp_path):
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


def test_a_foreign_file_with_the_name_of_an_alias_is_left_alone_and_reported(tmp_path, caplog):
    (tmp_path / "last.ckpt").write_text("mine")
    fit(tmp_path)
    assert (tmp_path / "last.ckpt").read_text() == "mine"
    assert caplog.text.count("cannot create the 'last' link") == 1


def test_an_unknown_name_in_the_template_is_reported_after_the_first_epoch(tmp_path, caplog):
    fit(tmp_path, arguments={"filename": "{epoch}-{val_los:.3f}"})
    assert "filename: {val_los} was never logged; logged names: " in caplog.text


def test_only_weights_warn_when_the_callback_is_built(tmp_path, caplog):
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

    monkeypatch.setattr("ckpt_callbacks.run.checkpoint_writer.verify", slowly)
    callback = LightningCheckpoint(tmp_path / "run", Policy(Every(steps=5)))
    fitter = trainer(Fails(), callback, logger=Broken(tmp_path))
    plugin = fitter.strategy.checkpoint_io
    with pytest.raises(RuntimeError, match="out of memory"):
        fitter.fit(Model(), *loaders())
    assert "a listener failed on Model-000-5.ckpt: ZeroDivisionError" in caplog.text
    assert fitter.strategy.checkpoint_io is plugin and callback._fit is None
    assert callback.last().step == 5
