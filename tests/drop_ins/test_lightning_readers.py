"""Values that scripts read, edit and resume from after a fit: the same with the original and with the drop-in."""

import glob
import json
import os
import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.callbacks import EarlyStopping as OriginalStopping
from lightning.pytorch.callbacks import ModelCheckpoint as Original
from lightning.pytorch.cli import LightningCLI

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from tests.drop_ins.lightning_patterns import Logs, listing, new_trainer, same, shown, train

FALLS, ZIGZAG = [0.9, 0.6, 0.4, 0.2], [0.5, 0.8, 0.3, 0.6]
SLOW = pytest.mark.slow
STOPPING = {Original: OriginalStopping, ModelCheckpoint: EarlyStopping}


# -- the callback among others -----------------------------------------------------------------------------------------


def test_the_trainer_knows_a_drop_in_as_the_original():
    checkpoint, stopping = ModelCheckpoint(), EarlyStopping("val_loss")
    trainer = new_trainer(stopping, checkpoint)
    assert trainer.checkpoint_callback is checkpoint and trainer.checkpoint_callbacks == [checkpoint]  # no second one
    assert trainer.early_stopping_callback is stopping
    assert [one for one in trainer.callbacks if isinstance(one, Original)] == [checkpoint]
    assert isinstance(checkpoint, Checkpoint) and checkpoint.__class__.__name__ == "ModelCheckpoint"
    assert trainer.callbacks[-1] is checkpoint  # Lightning puts it behind the others


@SLOW
def test_a_callback_that_the_module_brings_takes_the_place_of_the_default_one(tmp_path):
    def script(kind, folder):
        class Brings(Logs):
            def configure_callbacks(self):
                return [kind(folder, "own-{epoch}"), STOPPING[kind]("val_loss", patience=1)]

        trainer = train(module=Brings({"val_loss": ZIGZAG}), max_epochs=4)
        return listing(folder), len(trainer.checkpoint_callbacks), trainer.early_stopping_callback.wait_count

    same(tmp_path, script)


@SLOW
def test_callbacks_may_be_set_after_construction_in_any_order(tmp_path):
    def script(kind, folder):
        trainer = new_trainer()
        trainer.callbacks = [kind(folder, monitor="val_loss", save_last=True), STOPPING[kind]("val_loss", patience=1)]
        trainer.fit(Logs({"val_loss": ZIGZAG}))
        return listing(folder), shown(trainer.checkpoint_callback)

    same(tmp_path, script)


# -- what is read afterwards -------------------------------------------------------------------------------------------


@SLOW
def test_the_ranking_is_read_as_a_dictionary_of_scores(tmp_path):
    def script(kind, folder):
        callback = kind(folder, monitor="val_loss", save_top_k=3)
        assert (callback.best_model_path, callback.best_model_score) == ("", None)
        train(callback, metrics={"val_loss": ZIGZAG}, max_epochs=4)
        ranked = sorted(callback.best_k_models.items(), key=lambda item: item[1], reverse=callback.mode == "max")
        states = [torch.load(path, weights_only=False)["state_dict"] for path, _ in ranked]
        mean = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
        scores = json.dumps({path: score.item() for path, score in callback.best_k_models.items()})
        callback.to_yaml()
        callback.to_yaml(folder / "k.yaml")
        return scores, mean["weight"].tolist(), Path(folder, "k.yaml").read_text(), listing(folder)

    same(tmp_path, script)


@SLOW
def test_names_are_taken_apart_with_regular_expressions(tmp_path):
    def script(kind, folder):
        train(callback := kind(folder, save_top_k=-1), max_epochs=3)
        train(best := kind(folder, "{val_acc:.2f}", monitor="val_acc", mode="max"), metrics={"val_acc": [0.5, 0.7]})
        pattern = r"epoch=(\d+)-step=(\d+)\.ckpt$"
        found = sorted(re.search(pattern, path).groups() for path in glob.glob(f"{folder}/epoch*.ckpt"))
        path, score = callback.best_model_path, best.best_model_path
        return found, path.split("=")[-2], Path(path).name[:-5], re.search(r"val_acc=(\d+\.\d+)", score)[1]

    same(tmp_path, script)


@pytest.mark.parametrize("recursive", [False, pytest.param(True, marks=SLOW)])
def test_the_newest_file_by_time_is_the_newest_checkpoint(tmp_path, recursive):
    def script(kind, folder):
        train(kind(folder / "a", monitor="val_loss", save_top_k=2, save_last=True), metrics={"val_loss": FALLS})
        found = (folder.rglob if recursive else (folder / "a").glob)("*.ckpt")
        newest = max(found, key=os.path.getmtime)
        trainer = train(kind(folder / "b"), ckpt_path=newest, max_epochs=3)
        return torch.load(newest, weights_only=False)["global_step"], trainer.global_step, sorted(os.listdir(folder))

    assert same(tmp_path, script) == [4, 6, ["a", "b"]]


NINE = {
    "monitor", "best_model_score", "best_model_path", "current_score", "dirpath", "best_k_models",
    "kth_best_model_path", "kth_value", "last_model_path",
}  # fmt: skip


def test_the_state_in_a_checkpoint_is_that_of_the_original(tmp_path):
    def script(kind, folder):
        callback = kind(folder, monitor="val_loss", save_top_k=2, save_last=True)
        train(callback, STOPPING[kind]("val_loss"), metrics={"val_loss": ZIGZAG})
        states = torch.load(callback.last_model_path, weights_only=False)["callbacks"]
        (key,) = [key for key in states if key.startswith("ModelCheckpoint") and "val_loss" in key]
        assert states[key].keys() == NINE and type(states[key]) is dict
        return states

    with pytest.MonkeyPatch.context() as patched:  # what "stale last" in docs/drop-ins.md changes is in the state
        patched.setattr(ModelCheckpoint, "_save_newest_as_last", lambda self, trainer: None)
        same(tmp_path, script)


@SLOW
@pytest.mark.parametrize("edit", ["emptied", "moved", "removed"])
def test_an_edited_checkpoint_is_resumed_from_as_with_the_original(tmp_path, edit):
    def script(kind, folder):
        train(first := kind(folder, monitor="val_loss", save_top_k=2), metrics={"val_loss": FALLS})
        checkpoint = torch.load(first.best_model_path, weights_only=False)
        if edit == "removed":
            del checkpoint["callbacks"]
        elif edit == "emptied":
            checkpoint["callbacks"] = {}
        else:
            for state in checkpoint["callbacks"].values():
                state["dirpath"] = "/elsewhere"
        torch.save(checkpoint, folder / "edited.ckpt")
        second = kind(folder, monitor="val_loss", save_top_k=2)
        try:
            trainer = train(second, metrics={"val_loss": FALLS}, ckpt_path=folder / "edited.ckpt", max_epochs=4)
        except Exception as error:
            return type(error).__name__, listing(folder)
        return trainer.global_step, listing(folder), shown(second)

    same(tmp_path, script)


# -- subclasses --------------------------------------------------------------------------------------------------------


def test_a_subclass_may_write_other_files_instead(tmp_path):
    def script(kind, folder):
        class Adapters(kind):
            def _save_checkpoint(self, trainer, filepath):
                torch.save(trainer.lightning_module.state_dict(), filepath.replace(".ckpt", "_weights.pt"))
                self._last_global_step_saved = trainer.global_step
                self._last_checkpoint_saved = filepath

        callback = Adapters(folder, monitor="val_loss", save_top_k=2, save_last=True)
        train(callback, metrics={"val_loss": ZIGZAG}, max_epochs=3)
        return listing(folder), shown(callback)

    same(tmp_path, script)


def test_a_subclass_may_write_a_twin(tmp_path):
    def script(kind, folder):
        class Twin(kind):
            def _save_checkpoint(self, trainer, filepath):
                super()._save_checkpoint(trainer, filepath)
                torch.save(torch.load(filepath, weights_only=False)["state_dict"], f"{filepath[:-5]}-EMA.ckpt")

            def _remove_checkpoint(self, trainer, filepath):
                super()._remove_checkpoint(trainer, filepath)
                os.unlink(f"{filepath[:-5]}-EMA.ckpt")

        callback = Twin(folder, monitor="val_loss", save_top_k=2)
        train(callback, metrics={"val_loss": ZIGZAG}, max_epochs=4)
        return listing(folder), shown(callback)

    same(tmp_path, script)


# -- resuming ----------------------------------------------------------------------------------------------------------


@SLOW
@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_to_resume_from_begins_afresh(tmp_path, enabled):
    def script(kind, folder):
        callbacks = [kind(folder)] if enabled else []
        train(*callbacks, default_root_dir=folder, enable_checkpointing=enabled)
        trainer = train(
            *callbacks, ckpt_path="last", max_epochs=1, default_root_dir=folder, enable_checkpointing=enabled
        )
        return trainer.global_step, listing(folder)

    assert same(tmp_path, script)[0] == 2


def test_links_lead_to_files_that_exist(tmp_path):
    def script(kind, folder):
        callbacks = [
            kind(folder, monitor="val_loss", save_top_k=1, save_last="link"),
            kind(folder, "b-{step}", every_n_train_steps=1, save_top_k=1, save_last="link"),
        ]
        train(*callbacks, metrics={"val_loss": FALLS}, max_epochs=3)
        links = {path.name: os.readlink(path) for path in folder.glob("*.ckpt") if path.is_symlink()}
        return listing(folder), links, [callback.last_model_path for callback in callbacks]

    same(tmp_path, script)


@SLOW
def test_a_step_save_with_a_validation_metric_waits_for_the_next_validation(tmp_path):
    """The original ranks by a value of other weights: "stale metric" in docs/drop-ins.md."""
    seen = {}
    for kind in (Original, ModelCheckpoint):
        folder = tmp_path / kind.__module__
        callback = kind(folder, "{step}-{val_loss:.1f}", monitor="val_loss", every_n_train_steps=1, save_top_k=-1)
        train(callback, metrics={"val_loss": FALLS}, max_epochs=3)
        seen[kind] = [name.removesuffix(".ckpt") for name in listing(folder)]
    stale = ["step=3-val_loss=0.9", "step=4-val_loss=0.9", "step=5-val_loss=0.6", "step=6-val_loss=0.6"]
    assert seen[Original] == stale
    assert seen[ModelCheckpoint] == ["step=2-val_loss=0.9", "step=4-val_loss=0.6", "step=6-val_loss=0.4"]


@SLOW
def test_files_of_a_run_may_be_removed_at_the_start_of_the_next(tmp_path):
    class Clean(Callback):
        def on_fit_start(self, trainer, module):
            for path in Path(trainer.checkpoint_callback.dirpath).glob("*.ckpt"):
                path.unlink()

    def script(kind, folder):
        for _ in range(2):
            train(Clean(), callback := kind(folder, monitor="val_loss", save_last=True), metrics={"val_loss": FALLS})
        return listing(folder), shown(callback)

    same(tmp_path, script)


# -- LightningCLI ------------------------------------------------------------------------------------------------------


class FromFile(Logs):
    """A module for a command line."""

    def __init__(self):
        super().__init__({"val/loss": FALLS})


def from_file(folder, name, **arguments):
    """Run a command line with a callback from a file, which has the triggers as text; return the trainer."""
    config = {
        "max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "callbacks": [{"class_path": name, "init_args": arguments}],
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps({"trainer": config}))
    made = LightningCLI(FromFile, args=["fit", f"--config={folder / 'config.yaml'}"], save_config_callback=None)
    return made.trainer


@SLOW
@pytest.mark.parametrize("trigger", [{}, {"every_n_epochs": 2}, {"train_time_interval": "0:0:0"}])
def test_a_command_line_takes_the_drop_in_by_its_path(tmp_path, trigger):
    paths = {Original: "lightning.pytorch.callbacks", ModelCheckpoint: "ckpt_callbacks.lightning"}

    def script(kind, folder):
        trainer = from_file(
            folder, f"{paths[kind]}.ModelCheckpoint", dirpath=str(folder), monitor="val/loss", save_top_k=2,
            filename="{epoch}_{val/loss:.2f}", auto_insert_metric_name=False, **trigger,
        )  # fmt: skip
        assert type(trainer.checkpoint_callback) is kind
        return listing(folder), shown(trainer.checkpoint_callback)

    if "train_time_interval" in trigger:  # "stale metric" in docs/drop-ins.md
        from_file(tmp_path, "ckpt_callbacks.lightning.ModelCheckpoint", dirpath=str(tmp_path), **trigger)
        assert listing(tmp_path) == ["config.yaml", "epoch=2-step=6.ckpt"]
    else:
        same(tmp_path, script)


@SLOW
def test_a_short_name_is_ambiguous_once_the_drop_in_is_imported(tmp_path, capsys):
    with pytest.raises(SystemExit):
        from_file(tmp_path, "ModelCheckpoint", dirpath=str(tmp_path))
    assert "Give the full class path to avoid ambiguity" in capsys.readouterr().err
