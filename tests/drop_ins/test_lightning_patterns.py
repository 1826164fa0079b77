"""File names and directories as people use them, with the original and with the drop-in: the same files."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.drop_ins.lightning_patterns import Logs, listing, new_trainer, same, shown, train
from tests.drop_ins.lightning_runs import BOTH

FALLS, ZIGZAG = [0.9, 0.6, 0.4, 0.2], [0.5, 0.8, 0.3, 0.6]
SLOW = pytest.mark.slow


def one(metrics=None, epochs=3, fit=None, **arguments):
    """Return a script with one callback."""

    def script(kind, folder):
        callback = kind(folder, **arguments)
        train(callback, metrics=metrics or {"val_loss": FALLS}, max_epochs=epochs, **(fit or {}))
        return listing(folder), shown(callback)

    return script


# -- one callback, and what it leaves ------------------------------------------------------------------------------

LEFT = {
    "a folder for each epoch": one({"val/loss": FALLS}, filename="{epoch}-{val/loss:.2f}", monitor="val/loss"),
    "all of them": one({"val/loss": FALLS}, filename="{epoch}-{val/loss:.2f}", monitor="val/loss", save_top_k=-1),
    "a metric that is not logged": one({"val/loss": FALLS}, filename="{epoch}-{val_loss:.2f}", monitor="val/loss"),
    "one name, overwritten": one(filename="best", monitor="val_loss"),
    "one name, two files": one({"val_loss": ZIGZAG}, 4, filename="best", monitor="val_loss", save_top_k=2),
    "one name, all": one(filename="best", save_top_k=-1),
    "one name, two of one file": one(
        filename="best", monitor="val_loss", save_top_k=2, enable_version_counter=False, epochs=4
    ),
    "the name of the last file": one(filename="last", save_last=True),
    "the name of the last file, ranked": one(filename="last", save_last=True, monitor="val_loss", save_top_k=2),
    "like the name of the last file": one(filename="last-{step}", monitor="step", mode="max", save_last=True),
    "the newest by epoch": one(monitor="epoch", mode="max", save_top_k=2, save_last=True),
    "the newest by step": one(monitor="step", mode="max", save_top_k=2, filename="{step:06d}"),
    "the newest by a logged step": one({"info/global_step": FALLS[::-1]}, monitor="info/global_step", mode="max"),
    "the newest by batch": one({"batch": [2.0, 4.0, 6.0]}, monitor="batch", mode="max", filename="model-{batch}"),
    "only the last one": one(save_top_k=0, save_last=True),
    "only the last one, at times": one(save_top_k=0, save_last=True, train_time_interval=timedelta(0)),
    "the last one, as a link": one(save_top_k=0, save_last="link"),
    "a link to one of all": one(save_top_k=-1, save_last="link"),
    "a link to one of the best": one({"val_loss": ZIGZAG}, monitor="val_loss", save_top_k=2, save_last="link"),
    "two triggers off": one(every_n_epochs=None, train_time_interval=None, every_n_train_steps=2, save_top_k=-1),
    "two triggers zero": one(every_n_epochs=0, every_n_train_steps=2, save_top_k=-1),
    "all triggers zero": one(every_n_epochs=0, every_n_train_steps=0),
    "epochs that validations do not divide": one(
        {"val_loss": ZIGZAG}, 6, {"check_val_every_n_epoch": 2}, every_n_epochs=3, monitor="val_loss", save_top_k=-1
    ),
    "a suffix twice": one(filename="{epoch}.ckpt"),
    "a format as text": one(
        {"val/loss": FALLS}, filename="e{epoch:03d}_{val/loss:03f}", monitor="val/loss", auto_insert_metric_name=False
    ),
    "folders in the literal part": one(
        {"val/loss": FALLS},
        filename="val/loss_{val/loss:.2f}",
        monitor="val/loss",
        auto_insert_metric_name=False,
        save_top_k=2,
    ),
    "true is one": one(save_top_k=True),
    "only weights": one(save_weights_only=True, monitor="val_loss", filename="weights"),
}
QUICK = {"a folder for each epoch", "a link to one of the best"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else SLOW) for name in LEFT])
def test_one_callback_leaves_the_files_of_the_original(tmp_path, name):
    same(tmp_path, LEFT[name])


@SLOW
@pytest.mark.parametrize(
    ("logged", "monitor", "sets"),
    [
        ("val_loss", "val_loss/dataloader_idx_0", 2),
        ("Val/Total Loss", "Val/Total Loss/dataloader_idx_0", 2),
        ("auc@10", "auc@10", 1),
        ("valid/EVQA.test/recall_at_5", "valid/EVQA.test/recall_at_5", 1),
        ("data.val.training-objective", "data.val.training-objective", 1),
    ],
)
def test_the_name_of_a_metric_is_any_text(tmp_path, logged, monitor, sets):
    def script(kind, folder):
        callback = kind(folder, monitor=monitor, filename=f"{{epoch}}-{{{monitor}:.3f}}", save_top_k=2)
        train(callback, module=Logs({logged: FALLS}, sets), max_epochs=3)
        return listing(folder), shown(callback)

    same(tmp_path, script)


@SLOW
def test_a_template_with_doubled_braces_fails_or_not_as_with_the_original(tmp_path):
    def script(kind, folder):
        try:
            train(kind(folder, "{{epoch}}-{{val_loss:.2f}}"), metrics={"val_loss": FALLS})
        except Exception as error:
            return type(error).__name__, str(error), listing(folder)
        return listing(folder)

    same(tmp_path, script)


# -- several callbacks and runs --------------------------------------------------------------------------------------


def test_several_callbacks_share_a_directory(tmp_path):
    def script(kind, folder):
        callbacks = [
            kind(folder, "best-{val_loss:.1f}", monitor="val_loss", save_last=True),
            kind(folder, "acc-{epoch}", monitor="val_acc", mode="max", save_last=True),
            kind(folder, every_n_epochs=2, save_top_k=-1),
            kind(folder, "{step}", every_n_train_steps=3, save_last="link"),
        ]
        trainer = train(*callbacks, metrics={"val_loss": ZIGZAG, "val_acc": ZIGZAG}, max_epochs=4)
        assert trainer.checkpoint_callbacks == callbacks
        return listing(folder), [shown(callback) for callback in callbacks]

    files, _ = same(tmp_path, script)
    assert {"last.ckpt", "last-v1.ckpt", "last-v2.ckpt"} < {*files}


@pytest.mark.parametrize("differs", [{"filename": "b"}, {"save_weights_only": True}])
def test_two_callbacks_with_the_same_state_are_refused(tmp_path, differs):
    def script(kind, folder):
        with pytest.raises(RuntimeError, match="more than one stateful callback of type `ModelCheckpoint`") as error:
            new_trainer(kind(folder, "a"), kind(folder, **{"filename": "a", **differs}))
        return str(error.value)

    same(tmp_path, script)


@SLOW
@pytest.mark.parametrize("filename", [None, "best"])
@pytest.mark.parametrize("kept", [{}, {"monitor": "val_loss", "save_top_k": 2}, {"save_top_k": -1}])
def test_later_runs_in_one_directory_add_versions(tmp_path, filename, kept):
    def script(kind, folder):
        seen = []
        for fold in range(3):
            callback = kind(folder, filename, save_last=True, **kept)
            train(callback, metrics={"val_loss": [value + fold for value in ZIGZAG]})
            seen.append((listing(folder), shown(callback)))
        return seen

    same(tmp_path, script)


def test_one_callback_object_serves_several_fits(tmp_path):
    """The original skips a save at a step at which an earlier fit has saved: "second fit" in docs/drop-ins.md."""
    seen = {}
    for name, kind in BOTH.items():
        callback = kind(tmp_path / name, monitor="val_loss")
        for fold in range(2):
            train(callback, metrics={"val_loss": [value - fold for value in ZIGZAG]})
        seen[name] = {os.path.basename(path): round(float(score), 5) for path, score in callback.best_k_models.items()}
        assert listing(tmp_path / name) == [*seen[name]]
    assert seen == {"original": {"epoch=1-step=4.ckpt": -0.2}, "drop-in": {"epoch=0-step=2.ckpt": -0.5}}


# -- where, and under which names, decided late ------------------------------------------------------------------------


@SLOW
def test_directory_and_name_may_be_set_from_outside(tmp_path):
    class Place(Callback):
        def setup(self, trainer, module, stage):
            (callback,) = trainer.checkpoint_callbacks
            callback.filename = f"late-{callback.filename}"

    def script(kind, folder):
        callback = kind(filename="{epoch}", save_last=True)
        callback.dirpath = str(folder / "late")
        train(Place(), callback)
        return listing(folder), shown(callback)

    files, _ = same(tmp_path, script)
    assert files == ["late", "late/last.ckpt", "late/late-epoch=1.ckpt"]


@SLOW
@pytest.mark.parametrize("on_class", [False, True])
def test_names_may_be_set_on_the_object_and_on_the_class(tmp_path, on_class):
    def script(kind, folder):
        class Own(kind):
            """A class whose attributes are set."""

        made = Own if on_class else None
        callback = Own(folder, "{epoch}-{val_acc:.1f}", monitor="val_acc", mode="max", save_top_k=2, save_last=True)
        target = made or callback
        target.CHECKPOINT_NAME_LAST = "{epoch}-{val_acc:.2f}-last"
        target.CHECKPOINT_EQUALS_CHAR, target.CHECKPOINT_JOIN_CHAR = "_", "+"
        target.FILE_EXTENSION, target.STARTING_VERSION = ".pt", 5
        train(callback, metrics={"val_acc": [0.5, 0.5, 0.6]}, max_epochs=3)
        return listing(folder), shown(callback)

    files, _ = same(tmp_path, script)
    assert all(name.endswith(".pt") for name in files)


def test_attributes_of_the_original_class_count_for_the_drop_in(tmp_path, monkeypatch):
    from lightning.pytorch.callbacks import ModelCheckpoint as Original

    monkeypatch.setattr(Original, "CHECKPOINT_EQUALS_CHAR", "_")
    files, _ = same(tmp_path, one(filename="{epoch}"))
    assert files == ["epoch_2.ckpt"]


@pytest.mark.parametrize("logger", [False, pytest.param(True, marks=SLOW)])
def test_the_directory_is_that_of_the_logger_or_of_the_trainer(tmp_path, logger):
    from lightning.pytorch.loggers import CSVLogger

    def script(kind, folder):
        made = CSVLogger(folder, "name", "v7") if logger else False
        train(callback := kind(), logger=made, default_root_dir=folder)
        return [name for name in listing(folder) if name.endswith(".ckpt")], shown(callback)

    same(tmp_path, script)


def test_a_relative_directory_is_that_of_the_construction(tmp_path, monkeypatch):
    def script(kind, folder):
        monkeypatch.chdir(folder)
        callback = kind("ckpts", save_last=True)
        (folder / "elsewhere").mkdir()
        monkeypatch.chdir(folder / "elsewhere")  # as Hydra does
        train(callback)
        return listing(folder), shown(callback)

    same(tmp_path, script)


# -- other hands in the directory --------------------------------------------------------------------------------------


@SLOW
@pytest.mark.parametrize("how", ["unlink", "strategy"])
def test_a_file_may_be_removed_under_the_callback(tmp_path, how):
    class Remove(Callback):
        def on_train_epoch_start(self, trainer, module):
            path = trainer.checkpoint_callback.best_model_path
            if path and trainer.current_epoch == 2:
                os.unlink(path) if how == "unlink" else trainer.strategy.remove_checkpoint(path)

    def script(kind, folder):
        callback = kind(folder, monitor="val_loss", save_top_k=2)
        train(Remove(), callback, metrics={"val_loss": ZIGZAG}, max_epochs=4)
        return listing(folder), shown(callback)

    same(tmp_path, script)


@SLOW
def test_files_of_others_stay(tmp_path):
    def script(kind, folder):
        torch.save({}, folder / "theirs.ckpt")
        Path(folder, "epoch=0-step=2.ckpt").write_text("theirs too")
        train(callback := kind(folder, monitor="val_loss"), metrics={"val_loss": FALLS})
        return listing(folder), shown(callback), Path(folder, "epoch=0-step=2.ckpt").read_text()

    same(tmp_path, script)
