"""Checkpoints of the drop-in that are taken between an epoch's last batch and the end of the epoch."""

import os
import threading

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from tests.adapters.lightning.task import Model, data, loaders, trainer
from tests.drop_ins.lightning_runs import BOTH, Plateau, end_of, fit


class Steps(Plateau):
    """A network whose learning rate follows the validation at each step."""

    def configure_optimizers(self):
        found = super().configure_optimizers()
        found["lr_scheduler"] |= {"interval": "step", "frequency": 10}
        return found


class Logged(Plateau):
    """A network that logs at the end of an epoch what it has seen in it, and draws random numbers there."""

    def on_train_epoch_end(self):
        self.log("seen", self.trainer.callback_metrics["train_loss_epoch"] + torch.rand(()))


class Seen(Callback):
    """What callbacks see at the end of each validation and each epoch."""

    def __init__(self):
        self.found = []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.found.append(("validation", trainer.global_step, float(trainer.callback_metrics["val_loss"])))

    def on_train_epoch_end(self, trainer, module):
        named = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.found.append(
            ("epoch", trainer.current_epoch, trainer.fit_loop.epoch_loop._batches_that_stepped, rate, named)
        )


class Stream(IterableDataset):
    """Data whose length is not known."""

    def __iter__(self):
        x, y = data()
        return iter(TensorDataset(x[:120], y[:120]))


class Streamed(Plateau):
    def train_dataloader(self):
        return DataLoader(Stream(), 12)


def run(callback, *others, model=Plateau, ckpt_path=None, loader=DataLoader, **settings):
    lightning.seed_everything(7, verbose=False)
    module, seen = model(), Seen()
    fitter = trainer(seen, *others, callback, **{"num_sanity_val_steps": 0, **settings})
    train, val = loaders(loader)
    if model is Streamed:
        train = module.train_dataloader()
    fitter.fit(module, train, val, ckpt_path=ckpt_path)
    return fitter, seen.found


MODELS = {
    "by epoch": {},
    "by step": {"model": Steps},
    "logged": {"model": Logged},
    "stateful": {"loader": StatefulDataLoader},
    "streamed": {"model": Streamed},
    "every second": {"model": Model, "check_val_every_n_epoch": 2},
    "twice": {"val_check_interval": 0.5},
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_continues_after_the_validation_that_ends_an_epoch(tmp_path, kind):
    def made(dirpath):
        stop = EarlyStopping("val_loss", patience=2, check_on_train_epoch_end=True, strict=False)
        return ModelCheckpoint(dirpath, monitor="val_loss", save_top_k=-1, save_on_train_epoch_end=False), stop

    settings = {"max_epochs": 4, **MODELS[kind]}
    whole, seen = run(*made(tmp_path / "whole"), **settings)
    path = tmp_path / "whole" / "epoch=1-step=20.ckpt"
    parts, resumed = run(*made(tmp_path / "whole"), ckpt_path=path, **settings)
    assert resumed == seen[len(seen) - len(resumed) :] and resumed[0][:2] == ("epoch", 1)
    assert end_of(parts) == end_of(whole) and parts.global_step == whole.global_step
    assert parts.early_stopping_callback.wait_count == whole.early_stopping_callback.wait_count


@pytest.mark.parametrize("settings", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 3}])
def test_a_run_continues_after_the_last_batch_of_an_epoch_without_a_validation(tmp_path, settings):
    def made(dirpath):
        return ModelCheckpoint(dirpath, every_n_train_steps=10, save_top_k=-1)

    class Plain(Plateau):
        def configure_optimizers(self):
            return super().configure_optimizers()["optimizer"]

    whole, seen = run(made(tmp_path / "whole"), model=Plain, **settings)
    path = tmp_path / "whole" / "epoch=1-step=20.ckpt"
    parts, resumed = run(made(tmp_path / "whole"), model=Plain, ckpt_path=path, **settings)
    assert end_of(parts) == end_of(whole)
    assert [one[:3] for one in resumed] == [one[:3] for one in seen[len(seen) - len(resumed) :]]
    assert resumed[0][:2] == ("epoch", 1)


class Halve(Callback):
    """Changes the weights when an epoch has been validated."""

    def on_train_epoch_end(self, trainer, module):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.5)


@pytest.mark.parametrize("background", [True, False])
def test_a_ranked_checkpoint_holds_the_weights_that_were_validated(tmp_path, background):
    callback = ModelCheckpoint(
        tmp_path, monitor="val_loss", save_top_k=-1, save_on_train_epoch_end=False, background=background
    )
    fit(Halve(), callback)
    assert len(callback.best_k_models) == 3
    for path, score in callback.best_k_models.items():
        [found] = trainer().validate(Plateau.load_from_checkpoint(path), loaders()[1], verbose=False)
        assert found["val_loss"] == pytest.approx(float(score))


# -- an epoch that is cut short ----------------------------------------------------------------------------------------


class Ask(Callback):
    """Ends training within an epoch."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == 14


@pytest.mark.parametrize("settings", [{"monitor": "val_loss"}, {}, {"save_on_train_epoch_end": False}])
@pytest.mark.parametrize("end", ["max_steps", "should_stop"])
def test_a_fit_that_ends_within_an_epoch_is_continued_there(tmp_path, end, settings):
    def made(dirpath):
        return ModelCheckpoint(dirpath, save_last=True, **settings)

    whole, seen = run(made(tmp_path / "whole"), max_epochs=4)
    parts = made(tmp_path / "parts")
    if end == "max_steps":
        run(parts, max_steps=14, max_epochs=4)
    else:
        run(parts, Ask(), max_epochs=4)
    saved = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=False)
    if saved["global_step"] == 14:
        progress = saved["loops"]["fit_loop"]["epoch_progress"]["current"]
        assert saved["epoch"] == 1 and progress == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
    resumed, found = run(made(tmp_path / "parts"), ckpt_path="last", max_epochs=4)
    assert resumed.current_epoch == 4 and resumed.global_step == 40
    assert [one[:2] for one in found] == [one[:2] for one in seen[len(seen) - len(found) :]]
    if end == "max_steps":  # otherwise, a validation came between, which draws random numbers
        assert end_of(resumed) == end_of(whole)
        assert found[1:] == seen[len(seen) - len(found) + 1 :]


# -- whoever reads the path of a file ----------------------------------------------------------------------------------


class Reads(Callback):
    """Opens the best checkpoint at the end of each epoch."""

    def on_train_epoch_end(self, trainer, module):
        if path := trainer.checkpoint_callback.best_model_path:
            assert torch.load(path, weights_only=False)["global_step"]


class Follows(Checkpoint):
    """A callback of the user that stands behind, and looks at the files of the other one."""

    def on_validation_end(self, trainer, module):
        self._look(trainer)

    on_train_epoch_end = on_train_batch_end = lambda self, trainer, *_: self._look(trainer)

    def _look(self, trainer):
        path = trainer.checkpoint_callback.best_model_path
        assert not path or os.path.exists(path)


class Uploads(ModelCheckpoint):
    """Copies what was saved, as people do who upload it."""

    def _look(self):
        for path in filter(None, (self.best_model_path, self.last_model_path)):
            assert torch.load(path, weights_only=False)["global_step"]

    def on_train_batch_end(self, *arguments):
        super().on_train_batch_end(*arguments)
        self._look()

    def on_validation_end(self, *arguments):
        super().on_validation_end(*arguments)
        self._look()

    def on_train_epoch_end(self, *arguments):
        super().on_train_epoch_end(*arguments)
        self._look()


class ReadsItself(Plateau):
    """A module that opens the best checkpoint in its own hooks."""

    def _look(self):
        path = self.trainer.checkpoint_callback.best_model_path
        assert not path or os.path.exists(path)

    def on_train_batch_end(self, *_):
        self._look()

    on_validation_end = on_train_epoch_end = lambda self: self._look()


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"monitor": "val_loss", "save_on_train_epoch_end": False},
        {"monitor": "val_loss", "save_last": True},
        {"every_n_train_steps": 3, "save_last": True},
        {"every_n_train_steps": 10},
    ],
)
def test_a_path_that_is_read_in_a_hook_is_that_of_a_file(tmp_path, settings, background):
    made = {**settings, "background": background}
    for number, interval in enumerate((1.0, 0.5)):
        fit(
            Reads() if interval == 1.0 else Callback(),
            Uploads(tmp_path / f"a{number}", **made),
            ModelCheckpoint(tmp_path / f"b{number}", **made),
            Follows(),
            model=ReadsItself,
            val_check_interval=interval,
        )


@pytest.mark.parametrize("cls", BOTH.values(), ids=BOTH)
def test_reading_in_hooks_changes_no_file(tmp_path, cls):
    """The files are those of a run in which nobody reads them."""
    found = []
    for others, model in (((), Plateau), ((Follows(),), ReadsItself)):
        dirpath = tmp_path / str(len(found))
        fit(cls(dirpath, monitor="val_loss", save_top_k=-1, save_last=True), *others, model=model)
        states = {path.name: torch.load(path, weights_only=False) for path in dirpath.glob("*.ckpt")}
        found.append({name: (state["global_step"], state["epoch"]) for name, state in states.items()})
    assert found[0] == found[1] and len(found[0]) == 4


class Writes(ModelCheckpoint):
    """Looks at each file as soon as it was saved."""

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        assert os.path.exists(filepath)


@pytest.mark.parametrize("cls", [Uploads, Writes])
def test_a_resume_from_a_file_that_was_read_in_a_hook_counts_a_validation_once(tmp_path, cls):
    def made(dirpath):
        stop = EarlyStopping("val_loss", patience=3, mode="max")  # the loss falls, so that each validation counts
        return cls(dirpath, monitor="val_loss", save_top_k=-1, save_on_train_epoch_end=False), stop

    whole, _ = run(*made(tmp_path / "whole"), max_epochs=6)
    path = tmp_path / "whole" / "epoch=1-step=20.ckpt"
    parts, _ = run(*made(tmp_path / "whole"), ckpt_path=path, max_epochs=6)
    assert parts.global_step == whole.global_step and end_of(parts) == end_of(whole)
    assert parts.early_stopping_callback.wait_count == whole.early_stopping_callback.wait_count


class FromElsewhere(ModelCheckpoint):
    """Reads the path on another thread, within the hook in which a save was decided."""

    def on_validation_end(self, *arguments):
        super().on_validation_end(*arguments)
        self.read = []
        reader = threading.Thread(target=lambda: self.read.append(self.best_model_path))
        reader.start()
        reader.join(60)
        self.existed = bool(self.read[0]) and os.path.exists(self.read[0])


def test_only_the_thread_that_trains_saves(tmp_path):
    callback = FromElsewhere(tmp_path, monitor="val_loss", save_on_train_epoch_end=False)
    fit(callback)
    assert callback.read[0] and not callback.existed
    assert os.path.exists(callback.best_model_path)


class Falls(Plateau):
    """A network whose learning rate falls at the end of each epoch but the first."""

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


def test_a_save_after_one_that_was_read_at_the_end_of_an_epoch_resumes_as_well(tmp_path):
    """The learning rate falls by what Lightning does after these hooks."""

    def made():
        return Uploads(tmp_path, "a-{epoch}", save_top_k=-1), ModelCheckpoint(tmp_path, "b-{epoch}", save_top_k=-1)

    whole = fit(*made(), model=Falls, max_epochs=5)
    path = tmp_path / "b-epoch=1.ckpt"
    parts = fit(*made(), model=Falls, ckpt_path=path, max_epochs=5)
    assert parts.optimizers[0].param_groups[0]["lr"] == whole.optimizers[0].param_groups[0]["lr"] < 0.02
    assert end_of(parts) == end_of(whole)
