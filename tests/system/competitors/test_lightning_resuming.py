"""Runs that resume wrongly with Lightning's own callbacks, and correctly with this package (docs/peer-failures.md)."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, Improves, KeepAll, KeepLast, Metric, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, VAL, data, fit, weights
from tests.system.competitors.competitor import fails
from tests.system.competitors.lightning_runs import Watch, fit_and_crash, fit_theirs, fit_theirs_and_crash

NEVER_BETTER = Metric("val_loss", mode="min", min_delta=1e9)
STEPS = Policy(Every(steps=4), KeepLast(3))


class Stream(IterableDataset):
    """The task's training data as a stream of unknown length."""

    def __iter__(self):
        x, y = data()
        yield from zip(x[:120], y[:120], strict=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the uninterrupted run of 3 epochs of 10 steps, and the batches that it was trained on."""
    watch = Watch()
    module, _, _ = fit(tmp_path_factory.mktemp("whole"), extra=[watch])
    return module, watch.batches


def test_l10_a_resumed_run_draws_the_same_random_numbers(tmp_path, whole):
    """Lightning 17543: checkpoints hold no random state, so dropout and the order of the data differ on resume."""
    module, batches = whole
    fit_and_crash(tmp_path / "ours", EACH_EPOCH, 11)
    watch = Watch()
    resumed, _, _ = fit(tmp_path / "ours", resume=True, extra=[watch])
    assert watch.batches == batches[10:], "the same batches in the same order"
    assert torch.equal(weights(resumed), weights(module))

    theirs = ModelCheckpoint(tmp_path / "theirs", save_last=True)
    fit_theirs_and_crash(11, theirs)
    resumed, _ = fit_theirs(ckpt_path=theirs.last_model_path)
    fails("lightning", not torch.equal(weights(resumed), weights(module)))


def test_l11_a_run_that_max_steps_ended_with_an_epoch_trains_no_phantom_step(tmp_path):
    """Lightning 19403, 19617: a checkpoint taken at an epoch's end does not record that the epoch is over.

    A run that continues with more steps trains an eleventh batch of an epoch of ten.
    """
    first, more = ({"max_steps": steps, "max_epochs": -1, "limit_val_batches": 0} for steps in (20, 25))
    policy = Policy(Every(epochs=1), KeepAll())
    rest = [(2, index) for index in range(5)]
    whole, fitter, _ = fit(tmp_path / "whole", policy, **more)
    fit(tmp_path / "ours", policy, **first)
    watch = Watch()
    resumed, again, _ = fit(tmp_path / "ours", policy, resume=True, extra=[watch], **more)
    assert watch.positions == rest
    assert (again.global_step, again.current_epoch) == (fitter.global_step, fitter.current_epoch) == (25, 3)
    assert torch.equal(weights(resumed), weights(whole))
    watch = Watch()
    fit(tmp_path / "ours", policy, resume=True, extra=[watch], **more)
    assert watch.batches == [], "and none at all once it is done"

    theirs, watch = ModelCheckpoint(tmp_path / "theirs", save_last=True), Watch()
    fit_theirs(theirs, **first)
    fit_theirs(watch, ckpt_path=theirs.last_model_path, **more)
    fails("lightning", watch.positions != rest)


def test_l12_a_step_save_on_an_epochs_last_batch_drops_no_epoch(tmp_path):
    """With a StatefulDataLoader and ``max_epochs``, ModelCheckpoint's run ends one epoch early after such a resume."""
    policy = Policy(Every(steps=10), KeepAll())
    whole, _, _ = fit(tmp_path / "whole", policy, loader=StatefulDataLoader)
    fit_and_crash(tmp_path / "ours", policy, 11, loader=StatefulDataLoader)
    resumed, fitter, _ = fit(tmp_path / "ours", policy, loader=StatefulDataLoader, resume=True)
    assert (fitter.global_step, fitter.current_epoch) == (30, 3)
    assert torch.equal(weights(resumed), weights(whole))

    theirs = ModelCheckpoint(tmp_path / "theirs", save_last=True, every_n_train_steps=10)
    fit_theirs_and_crash(11, theirs, loader=StatefulDataLoader)
    _, fitter = fit_theirs(ckpt_path=theirs.last_model_path, loader=StatefulDataLoader)
    fails("lightning", fitter.global_step < 30)


def test_l13_an_unsized_stream_loses_no_batch_on_resume(tmp_path, caplog):
    """Lightning draws one batch of a stream in advance, so the loader's state is one batch ahead of training.

    This package resumes at an exact point, and logs once, in one line, if that is not the newest checkpoint.
    """

    def train(name, crash=None, resume=False):
        callback, watch = LightningCheckpoint(tmp_path / name, STEPS), Watch()
        arguments = {"train": StatefulDataLoader(Stream(), 12)}
        if crash:
            fit_theirs_and_crash(crash, watch, callback, **arguments)
            return callback.last().step, watch.batches
        path = callback.resume_path() if resume else None
        module, _ = fit_theirs(watch, callback, ckpt_path=path, **arguments)
        return module, watch.batches

    whole, batches = train("whole")
    caplog.clear()
    newest, _ = train("cut", crash=15)
    resumed, rest = train("cut", resume=True)
    first = len(batches) - len(rest)
    assert [b for *_, b in rest] == [b for *_, b in batches[first:]], "no batch is lost, and none comes twice"
    assert torch.equal(weights(resumed), weights(whole))
    told = {record.getMessage() for record in caplog.records if record.name == "ckpt_callbacks"}
    told = {line for line in told if not line.startswith("resumed from ")}
    assert len(told) == (first != newest), told
    assert not any("\n" in line for line in told)

    theirs, watch = ModelCheckpoint(tmp_path / "theirs", save_last=True, every_n_train_steps=4), Watch()
    fit_theirs_and_crash(15, theirs, train=StatefulDataLoader(Stream(), 12))
    fit_theirs(watch, ckpt_path=theirs.last_model_path, train=StatefulDataLoader(Stream(), 12))
    fails("lightning", len(watch.batches) < 30 - 12)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")  # the peer does
def test_l14_a_plain_loader_resumes_in_mid_epoch(tmp_path, whole):
    """Lightning 19764, 18780: the loader begins a new epoch, and the rest of the old one is silently never trained.

    This package draws the epoch's order again, and skips the batches that were trained.
    """
    uninterrupted, _, _ = fit(tmp_path / "whole", STEPS)
    module, batches = whole
    assert torch.equal(weights(module), weights(uninterrupted)), "saving changes nothing"
    fit_and_crash(tmp_path / "ours", STEPS, 15)
    watch = Watch()
    resumed, fitter, _ = fit(tmp_path / "ours", STEPS, resume=True, extra=[watch])
    assert watch.batches == batches[12:], "the run goes on in the middle of the second epoch"
    assert fitter.global_step == 30
    assert torch.equal(weights(resumed), weights(module))

    theirs, watch = ModelCheckpoint(tmp_path / "theirs", save_last=True, every_n_train_steps=4), Watch()
    fit_theirs_and_crash(15, theirs)
    fit_theirs(watch, ckpt_path=theirs.last_model_path)
    fails("lightning", sorted(b for _, _, b in watch.batches[:8]) != sorted(b for _, _, b in batches[12:20]))


def test_l22_one_nan_stops_nothing_and_the_codes_patience_counts(tmp_path):
    """Lightning 19966, 8278: EarlyStopping stops at the first NaN; a checkpoint's ``patience`` overrides the code's.

    In addition, a stopped run trains one more epoch each time it is resumed.
    """

    class OneNaN(Callback):
        def on_validation_batch_start(self, trainer, module, batch, *_):
            if trainer.current_epoch == 1 and not trainer.sanity_checking:
                batch[1].fill_(float("nan"))

    def policy(metric, checks):
        return Policy(Every(epochs=1) | Improves(VAL), KeepAll(), stop=Patience(metric, checks=checks))

    _, fitter, callback = fit(tmp_path / "nan", policy(VAL, 3), extra=[OneNaN()], max_epochs=4)
    assert fitter.current_epoch == 4
    assert VAL.score(callback.records()[1]) is None and callback.best().epoch != 2, "the NaN does not rank"
    _, fitter = fit_theirs(OneNaN(), EarlyStopping("val_loss", patience=3), max_epochs=4)
    fails("lightning", fitter.current_epoch == 2)

    dirpath, few = tmp_path / "ours", policy(NEVER_BETTER, 1)
    _, fitter, _ = fit(dirpath, few, max_epochs=9)
    stopped = fitter.global_step
    assert stopped == 20
    _, fitter, _ = fit(dirpath, few, max_epochs=9, resume=True)
    assert fitter.global_step == stopped, "a stopped run stays stopped"
    _, fitter, _ = fit(dirpath, policy(NEVER_BETTER, 4), max_epochs=9, resume=True)
    assert fitter.global_step == 50, "until the code allows for more"

    theirs = ModelCheckpoint(tmp_path / "theirs", save_last=True)
    fit_theirs(theirs, EarlyStopping("val_loss", patience=1, min_delta=1e9), max_epochs=9)
    more = EarlyStopping("val_loss", patience=4, min_delta=1e9)
    _, fitter = fit_theirs(more, ckpt_path=theirs.last_model_path, max_epochs=9)
    fails("lightning", (more.patience, fitter.global_step) == (1, 30))
