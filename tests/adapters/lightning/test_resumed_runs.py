"""Run directories over several fits: what is trained, kept and reported."""

import contextlib
import logging
import warnings

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, LearningRateFinder

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, NonFinite, Patience, Policy, Reaches
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import EACH_EPOCH, VAL, Model, digest, fit, loaders, trainer, weights


def test_rerunning_a_finished_script_trains_nothing(tmp_path, caplog):
    caplog.set_level("INFO")
    first, *_ = fit(tmp_path)
    again, fitter, callback = fit(tmp_path, resume=True)
    assert "nothing left to train" in caplog.text
    assert fitter.global_step == 30 and torch.equal(weights(first), weights(again))
    assert len(callback.records()) == 3


def test_more_epochs_continue_training(tmp_path):
    whole, *_ = fit(tmp_path / "whole", max_epochs=5)
    fit(tmp_path / "parts", max_epochs=3)
    more, _, callback = fit(tmp_path / "parts", max_epochs=5, resume=True)
    assert [r.epoch for r in callback.records()] == [1, 2, 3, 4, 5]
    assert torch.equal(weights(whole), weights(more))


def test_a_stopped_run_stays_stopped_until_the_policy_allows_more(tmp_path):
    def policy(checks):
        return Policy(
            Every(epochs=1), KeepAll(), stop=Patience(Metric("val_loss", mode="max", baseline=1e9), checks=checks)
        )

    _, fitter, _ = fit(tmp_path, policy(2), max_epochs=9)
    assert fitter.current_epoch == 2
    _, fitter, _ = fit(tmp_path, policy(2), resume=True, max_epochs=9)
    assert fitter.global_step == 20
    _, fitter, _ = fit(tmp_path, policy(5), resume=True, max_epochs=9)  # the code's patience counts, not the file's
    assert fitter.global_step == 50


def test_a_goal_stops_training(tmp_path, caplog):
    caplog.set_level("INFO")
    _, fitter, _ = fit(tmp_path, Policy(Every(epochs=1), stop=Reaches(VAL, 1e9)), max_epochs=9)
    assert fitter.current_epoch == 1 and "val_loss reached" in caplog.text


def test_a_stop_in_mid_epoch_saves_before_the_wind_down_and_resumes_there(tmp_path):
    class Poison(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 13:
                batch[1].fill_(float("nan"))

    policy = Policy(Every(epochs=1), KeepAll(), stop=NonFinite("train_loss"))
    _, fitter, callback = fit(tmp_path, policy, extra=[Poison()], max_epochs=3)
    assert fitter.global_step == 14
    assert [(r.step, r.epoch) for r in callback.records()] == [(10, 1), (14, 1)], "the partial epoch does not count"
    assert callback.final().step == 14


def test_another_callback_that_stops_at_a_mid_epoch_validation(tmp_path):
    stopper = EarlyStopping("val_loss", patience=0, min_delta=1e9)
    _, fitter, callback = fit(tmp_path, extra=[stopper], val_check_interval=0.5, max_epochs=3)
    final = callback.final()
    assert (fitter.global_step, final.step, final.epoch, final.resumable) == (10, 10, 1, True)


def test_a_damaged_checkpoint_is_skipped_with_a_reason(tmp_path, caplog):
    _, _, callback = fit(tmp_path)
    newest, older = callback.records()[2], callback.records()[1]
    content = bytearray(newest.path.read_bytes())
    content[len(content) // 2] ^= 1
    newest.path.write_bytes(content)
    assert callback.resume_path() == str(older.path)
    assert f"{newest.path}: its bytes changed" in caplog.text
    older.path.unlink()
    assert callback.resume_path() == str(callback.records()[0].path)
    assert f"{older.path}: missing" in caplog.text


@pytest.mark.parametrize("which", [0, 1])
def test_a_trainer_with_two_callbacks_resumes_from_the_files_of_either(tmp_path, which):
    def train(folder, epochs):
        seed_everything(7, verbose=False)
        module, callbacks = Model(), [LightningCheckpoint(folder / name, EACH_EPOCH) for name in "ab"]
        fitter = trainer(*callbacks, max_epochs=epochs)
        fitter.fit(module, *loaders(), ckpt_path=callbacks[which].resume_path())
        return digest(module, fitter), [[record.epoch for record in callback.records()] for callback in callbacks]

    whole = train(tmp_path / "whole", 3)
    train(tmp_path / "parts", 2)
    assert train(tmp_path / "parts", 3) == whole == (whole[0], [[1, 2, 3]] * 2)


def test_weights_that_are_averaged_are_the_model_s_when_nothing_is_left_to_train(tmp_path):
    """A run that was killed between its last save and the end of `fit`."""
    ended, _, _ = fit(tmp_path, extra=[EMAWeightAveraging(decay=0.9)])
    again, _, _ = fit(tmp_path, extra=[EMAWeightAveraging(decay=0.9)], resume=True)
    assert torch.equal(weights(again), weights(ended))


def test_a_fresh_start_in_a_used_directory_warns_and_deletes_nothing(tmp_path, caplog):
    fit(tmp_path)
    _, _, second = fit(tmp_path, Policy(Every(epochs=1), KeepLast(1)), max_epochs=1)
    assert "trainer.fit(model, ckpt_path=ckpt.resume_path())" in caplog.text
    assert len(list(tmp_path.glob("Model*.ckpt"))) == 4
    assert second.last().path.name == "Model-001-10-v1.ckpt"


def test_resuming_an_older_record_supersedes_what_came_after(tmp_path):
    _, _, callback = fit(tmp_path, max_epochs=4)
    older = callback.records()[1]
    second = LightningCheckpoint(tmp_path, EACH_EPOCH)
    trainer(second, max_epochs=3).fit(Model(), *loaders(), ckpt_path=str(older.path))
    by_file = {r.path.name: r for r in second.records()}
    assert {name for name, r in by_file.items() if r.superseded} == {"Model-003-30.ckpt", "Model-004-40.ckpt"}
    assert second.last().path.name == "Model-003-30-v1.ckpt" and second.last().parent == older.id
    assert second.resume_path().endswith("Model-003-30-v1.ckpt")


def test_a_moved_run_directory_resumes(tmp_path):
    whole, *_ = fit(tmp_path / "whole", max_epochs=4)
    fit(tmp_path / "here", max_epochs=2)
    (tmp_path / "here").rename(tmp_path / "there")
    moved, _, callback = fit(tmp_path / "there", resume=True, max_epochs=4)
    assert torch.equal(weights(whole), weights(moved))
    assert [r.epoch for r in callback.records()] == [1, 2, 3, 4]


def test_a_second_fit_of_one_callback_joins_the_history(tmp_path):
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    fitter, module = trainer(callback, max_epochs=2), Model()
    fitter.fit(module, *loaders())
    fitter.fit_loop.max_epochs = 4
    fitter.fit(module, *loaders())
    assert [(r.epoch, r.attempt) for r in callback.records()] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert callback.last().parent == callback.records()[1].id


def test_best_survives_a_restart(tmp_path):
    """Improves compares with the best value of the whole run, not of the process."""
    policy = Policy(Improves(Metric("val_loss", mode="max")), KeepAll())  # gets smaller: only the first is "best"
    fit(tmp_path, policy, max_epochs=2)
    _, _, callback = fit(tmp_path, policy, resume=True, max_epochs=4)
    assert [(r.epoch, r.reasons) for r in callback.records() if any("improved" in why for why in r.reasons)] == [
        (1, callback.records()[0].reasons)
    ]


class Worsens(Model):
    """Its first epoch is always the best one."""

    def validation_step(self, batch, index):
        self.log("val_loss", float(self.current_epoch + 1))


def test_the_best_stays_the_best_over_several_resumes_whose_points_were_pruned(tmp_path):
    policy = Policy(Every(epochs=1) | Every(steps=3), KeepLast(1) | KeepBest(1, by=VAL))
    for crash_at in (12, 28, 44, 10**9):
        callback = LightningCheckpoint(tmp_path, policy)
        with contextlib.suppress(ZeroDivisionError):
            trainer(Crash(crash_at), callback, max_epochs=6).fit(
                Worsens(), *loaders(), ckpt_path=callback.resume_path()
            )
    assert callback.best().step == 10 and not callback.best().superseded
    assert (tmp_path / "best.ckpt").resolve() == callback.best().path.resolve()


@pytest.mark.parametrize("damage", ["missing", "flipped bit"])
def test_a_damaged_best_makes_way_for_the_next_best(tmp_path, caplog, damage):
    policy = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL))
    callback = LightningCheckpoint(tmp_path, policy)
    trainer(callback, max_epochs=4).fit(Worsens(), *loaders())
    best = callback.best()
    if damage == "missing":
        best.path.unlink()
    else:
        content = bytearray(best.path.read_bytes())
        content[len(content) // 2] ^= 1
        best.path.write_bytes(content)
    again = LightningCheckpoint(tmp_path, policy)
    trainer(again, max_epochs=5).fit(Worsens(), *loaders(), ckpt_path=again.resume_path())
    assert (
        again.best().epoch == 2 and "best is the next best one, and a resume takes the newest good one" in caplog.text
    )
    assert (tmp_path / "best.ckpt").resolve() == again.best().path.resolve()
    assert {r.epoch for r in again.records()} == {2, 4, 5}, "the best two that are good, and the last"


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    policy = Policy(Every(epochs=1), KeepLast(3))
    _, _, callback = fit(tmp_path, policy)
    newest = callback.last().path
    newest.write_bytes(newest.read_bytes()[:-1])
    _, _, again = fit(tmp_path, policy, resume=True, max_epochs=4)
    assert [r.epoch for r in again.records()] == [2, 3, 4]
    assert newest.exists(), "what is damaged is left to people"


def test_a_stop_at_a_mid_epoch_validation_keeps_its_metrics(tmp_path):
    stopper = EarlyStopping("val_loss", stopping_threshold=1e9, check_on_train_epoch_end=False)
    _, _, callback = fit(
        tmp_path, Policy(Every(epochs=1), KeepBest(1, by=VAL)), extra=[stopper], val_check_interval=0.5
    )
    assert (callback.best().step, callback.best().resumable) == (5, True)
    assert "val_loss" in callback.best().metrics


def test_why_training_stopped_is_on_record(tmp_path):
    policy = Policy(Every(epochs=1), stop=Reaches(VAL, 1e9))
    _, _, callback = fit(tmp_path, policy, max_epochs=9)
    assert any(why.startswith("stopped: val_loss reached") for why in callback.final().reasons)


def test_a_callback_that_resets_a_resumed_run_is_refused_in_one_line(tmp_path):
    class Tuned(Model):
        def __init__(self):
            super().__init__()
            self.lr = 0.02

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), self.lr)

    def train(resume, *finder):
        callback = LightningCheckpoint(tmp_path / "run", EACH_EPOCH)
        path = callback.resume_path() if resume else None
        fitter = trainer(*finder, callback, max_epochs=2 + resume, default_root_dir=tmp_path)
        fitter.fit(Tuned(), *loaders(), ckpt_path=path)
        return callback

    train(False, LearningRateFinder(num_training_steps=5))
    with pytest.raises(
        ResumeError, match=r"a checkpoint of step 20 was loaded, and another callback has set .* step 0;"
    ):
        train(True, LearningRateFinder(num_training_steps=5))
    assert [record.step for record in train(True).records()] == [10, 20, 30]


def test_a_start_from_scratch_in_a_used_directory_says_what_to_type_and_verifies_nothing_for_it(tmp_path, caplog):
    policy = Policy(Every(epochs=1), KeepAll())
    fit(tmp_path, policy, max_epochs=1)
    with caplog.at_level(logging.INFO, "ckpt_callbacks"):
        fit(tmp_path, policy, max_epochs=1)
    assert "training starts from scratch; to continue from them, call trainer.fit(model, ckpt_path=" in caplog.text
    assert "verified in" not in caplog.text


@pytest.mark.parametrize("cut", [4, 13])
def test_a_resume_in_mid_epoch_leaves_the_filters_of_warnings_as_they_were(tmp_path, cut):
    policy, before = Policy(Every(steps=1), KeepLast(2)), list(warnings.filters)
    for crash, kept in ((cut, 0), (cut + 2, 0), (cut + 4, 1)):
        if kept:  # the user's own filter of the same warning is not ours to remove
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
            before = list(warnings.filters)
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path, policy, extra=[Crash(crash)], resume=True)
        assert warnings.filters == before
    fit(tmp_path, policy, resume=True)
    assert warnings.filters == before
