"""The arguments of the drop-ins for Lightning's callbacks."""

import inspect
from datetime import timedelta

import lightning
import pytest
from lightning.pytorch import callbacks as originals
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ckpt_callbacks import lightning as ours
from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from ckpt_callbacks.lightning.drop_ins import arguments

OWN = {"background", "on_error"}  # arguments that the originals do not have
AN_UNKNOWN = r"^ModelCheckpoint: got an unknown argument "
# The arguments, how the original refuses them, and what a drop-in says; None where the original fails in mid-training.
REFUSED = [
    ({"period": 5}, TypeError, AN_UNKNOWN + "'period'; instead, write every_n_epochs$"),
    ({"every_n_val_epochs": 2}, TypeError, AN_UNKNOWN + "'every_n_val_epochs'; instead, write every_n_epochs$"),
    ({"filepath": "a/best.ckpt"}, TypeError, "'filepath'; instead, write dirpath .* and filename for the name without"),
    ({"prefix": ""}, TypeError, r"'prefix'; instead, write filename='PREFIX-\{epoch\}-\{step\}'$"),
    ({"save_best_only": True}, TypeError, "'save_best_only'; instead, write monitor='val_loss' and mode='min'"),
    ({"moniter": "val_loss"}, TypeError, AN_UNKNOWN + "'moniter'; did you mean 'monitor'[?]$"),
    ({"period": 1, "prefix": ""}, TypeError, r"unknown arguments: 'period' \(instead, write .*\), 'prefix' \(instead"),
    ({"mirrors": "/a"}, TypeError, AN_UNKNOWN + r"'mirrors'; instead, write LightningCheckpoint\(..., mirrors=...\)$"),
    (
        {"policy": 1, "min_free": 2},
        TypeError,
        r"'policy' \(instead, write LightningCheckpoint\(..., policy=...\)\), 'm",
    ),
    ({"patience": 3}, TypeError, r"'patience'; instead, write EarlyStopping\(..., patience=...\)$"),
    ({"nonsense": 1}, TypeError, "expected one of dirpath, filename, monitor,"),
    ({"save_top_k": 3}, MisconfigurationException, "to track; instead, write monitor='val_loss' as well to keep the b"),
    ({"save_top_k": -2}, MisconfigurationException, "Must be >= -1; instead, write save_top_k=-1 to keep all$"),
    ({"save_top_k": None}, TypeError, "; instead, write save_top_k=1, which is the default$"),
    (
        {"save_top_k": "3"},
        TypeError,
        "save_top_k is '3', which is text; expected a number; instead, write save_top_k=3",
    ),
    ({"save_top_k": "all"}, TypeError, "save_top_k is 'all', which is text; expected a number$"),
    ({"mode": "auto", "monitor": "val_acc"}, MisconfigurationException, "but got auto; instead, write mode='max'$"),
    ({"mode": "minimize"}, MisconfigurationException, "; instead, write mode='min'$"),
    ({"mode": "best"}, MisconfigurationException, "; instead, write mode='min' or mode='max'$"),
    (
        {"every_n_epochs": 2, "train_time_interval": timedelta(0)},
        MisconfigurationException,
        "exclusive; instead, write a ModelCheckpoint for each of every_n_epochs and train_time_interval$",
    ),
    (
        {"every_n_train_steps": -1},
        MisconfigurationException,
        "; instead, write every_n_train_steps=0 to switch",
    ),
    ({"train_time_interval": 60}, None, r"; instead, write train_time_interval=timedelta\(seconds=60\)$"),
    ({"dirpath": 5}, TypeError, "expected str, bytes or os.PathLike object, not int$"),
]
REFUSED_BY_STOPPING = [
    ({"monitor": "a", "patiance": 3}, TypeError, "^EarlyStopping: got an unknown .*; did you mean 'patience'[?]$"),
    ({"monitor": "a", "restore_best_weights": True}, TypeError, "instead, write ModelCheckpoint with a monitor"),
    ({"monitor": "a", "resume": "auto"}, TypeError, r"instead, write LightningCheckpoint\(..., resume=...\)$"),
    ({"monitor": "a", "check_on_train_epoch": True}, TypeError, "did you mean 'check_on_train_epoch_end'[?]$"),
    ({}, TypeError, "missing 1 required positional argument: 'monitor'$"),
    ({"monitor": "val_loss", "mode": "auto"}, MisconfigurationException, "got auto; instead, write mode='min'$"),
    ({"monitor": "a", "min_delta": "5e-5"}, None, "is '5e-5', which is text; .*; instead, write min_delta=5e-05$"),
]
TAKEN = [
    ({"save_top_k": True}, "save_top_k is True, which counts as 1: one checkpoint is kept; for all, write"),
    ({"save_top_k": False}, "save_top_k is False, which counts as 0: only save_last saves"),
    ({"dirpath": "a/best.ckpt"}, "becomes a directory; for a file of this name, write dirpath='a', filename='best'"),
    ({"dirpath": "{epoch}-{val_loss:.2f}"}, "write dirpath='.', filename='{epoch}-{val_loss:.2f}'"),
    ({"filename": "best.ckpt"}, ".ckpt is added to it; write filename='best'"),
    ({"monitor": "val_acc"}, "mode is 'min', so the lowest val_acc is the best; for the highest, write mode='max'"),
    ({"monitor": "val_loss", "mode": "max"}, "the highest val_loss is the best; for the lowest, write mode='min'"),
]


@pytest.mark.parametrize("name", ["ModelCheckpoint", "EarlyStopping"])
def test_a_drop_in_has_the_arguments_of_its_original(name):
    original, ours_ = getattr(originals, name), getattr(ours, name)
    expected, found = (list(inspect.signature(one).parameters.values()) for one in (original, ours_))
    assert [one for one in found if one.name not in OWN] == expected
    assert all(one.kind is one.KEYWORD_ONLY for one in found if one.name in OWN)
    assert issubclass(ours_, original) and ours_.__name__ == name


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [("ModelCheckpoint", *row) for row in REFUSED] + [("EarlyStopping", *row) for row in REFUSED_BY_STOPPING],
    ids=str,
)
def test_a_refused_argument_gets_the_error_of_the_original_and_what_to_write_instead(name, given, error, message):
    original = getattr(originals, name)
    if error is None:
        original(**given)
    else:
        with pytest.raises(error):
            original(**given)
    with pytest.raises(error or TypeError, match=message) as found:
        getattr(ours, name)(**given)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("given", "message"), TAKEN, ids=str)
def test_what_the_original_takes_for_something_else_is_taken_and_said_once(given, message, caplog, monkeypatch):
    monkeypatch.setattr(arguments, "_said", set())
    caplog.set_level("INFO", "ckpt_callbacks")
    for _ in range(2):
        made, original = ModelCheckpoint(**given), originals.ModelCheckpoint(**given)
        assert (made.dirpath, made.filename, made.save_top_k) == (
            original.dirpath, original.filename, original.save_top_k
        )  # fmt: skip
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("ModelCheckpoint: ") and message in line


def test_usual_arguments_say_nothing(caplog):
    caplog.set_level("INFO", "ckpt_callbacks")
    ModelCheckpoint("runs/v1.5", "{epoch}-{val_loss:.2f}", monitor="val_loss", save_top_k=3)
    EarlyStopping("val_loss", 0.1, 5)
    assert not caplog.records


@pytest.mark.parametrize("removed", ["checkpoint_callback", "resume_from_checkpoint"])
def test_removed_arguments_of_the_trainer_are_refused_as_with_the_original(removed):
    for kind in (originals.ModelCheckpoint, ModelCheckpoint):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{removed}'"):
            lightning.Trainer(**{removed: kind()})
