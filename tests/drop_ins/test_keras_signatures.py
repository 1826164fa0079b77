"""The arguments of the Keras drop-ins."""

import importlib
import inspect

import keras
import numpy as np
import pytest

import ckpt_callbacks.keras
from ckpt_callbacks import MissingDependency
from ckpt_callbacks.keras import BackupAndRestore, EarlyStopping, ModelCheckpoint, drop_ins

BEYOND = {"ModelCheckpoint": {"background"}}


def parameters(kind):
    return {p.name: (p.kind, p.default) for p in inspect.signature(kind).parameters.values()}


@pytest.mark.parametrize("ours", [BackupAndRestore, EarlyStopping, ModelCheckpoint])
def test_a_drop_in_takes_the_arguments_of_the_original_in_the_same_order(ours):
    original = getattr(keras.callbacks, ours.__name__)
    assert issubclass(ours, original)
    found, wanted = parameters(ours), parameters(original)
    assert list(found.items())[: len(wanted)] == list(wanted.items())
    further = {name: kind for name, (kind, _) in found.items() if name not in wanted}
    assert further == dict.fromkeys(BEYOND.get(ours.__name__, ()), inspect.Parameter.KEYWORD_ONLY)


def test_a_version_of_keras_without_what_a_drop_in_overrides_is_named_at_the_import(monkeypatch):
    monkeypatch.delattr(keras.callbacks.ModelCheckpoint, "_should_save_model")
    with pytest.raises(MissingDependency, match=r"lacks .*ModelCheckpoint._should_save_model, which"):
        importlib.reload(drop_ins)


def test_the_drop_ins_are_imported_only_when_they_are_asked_for():
    assert ckpt_callbacks.keras.__all__ == ["KerasCheckpoint"]
    assert not {"ModelCheckpoint", "BackupAndRestore", "EarlyStopping"} & vars(ckpt_callbacks.keras).keys()


@pytest.mark.parametrize(
    ("make", "error", "instead"),
    [
        (lambda: ModelCheckpoint("a.hdf5"), ValueError, "must end in `.keras`.*; instead, write filepath='a.keras'$"),
        (lambda: ModelCheckpoint("a/ckpt-{epoch}"), ValueError, r"; instead, write filepath='a/ckpt-{epoch}.keras'$"),
        (
            lambda: ModelCheckpoint("a.h5", save_weights_only=True),
            ValueError,
            r"must end in `.weights.h5`.*; instead, write filepath='a.weights.h5'$",
        ),
        (
            lambda: ModelCheckpoint("a.weights.hdf5", save_weights_only=True),
            ValueError,
            "; instead, write filepath='a.weights.h5'$",
        ),
        (
            lambda: ModelCheckpoint("a.keras", save_freq=np.int64(5)),
            ValueError,
            "Unrecognized save_freq.*; instead, write save_freq=5$",
        ),
        (
            lambda: ModelCheckpoint("a.keras", save_freq="batch"),
            ValueError,
            "; instead, write save_freq='epoch' or a whole number$",
        ),
        (
            lambda: ModelCheckpoint("a.keras", period=5),
            TypeError,
            r"^ModelCheckpoint: got an unknown argument 'period'; instead, write save_freq='epoch', or, to save every "
            r"n epochs, KerasCheckpoint with Every\(epochs=n\)$",
        ),
        (
            lambda: ModelCheckpoint("a.keras", save_freq="5"),
            ValueError,
            "Unrecognized save_freq.*; instead, write save_freq=5$",
        ),
        (
            lambda: ModelCheckpoint("a.keras", mirrors="/a"),
            TypeError,
            r"'mirrors'; instead, write KerasCheckpoint\(..., mirrors=...\)$",
        ),
        (lambda: BackupAndRestore("a", resume="auto"), TypeError, r"write KerasCheckpoint\(..., resume=...\)$"),
        (lambda: EarlyStopping("val_loss", policy=1), TypeError, r"write KerasCheckpoint\(..., policy=...\)$"),
        (lambda: ModelCheckpoint("a.keras", patience=3), TypeError, r"write EarlyStopping\(..., patience=...\)$"),
        (lambda: ModelCheckpoint("a.keras", filename="b"), TypeError, "did you mean 'filepath'"),
        (lambda: ModelCheckpoint("a.keras", save_best=True), TypeError, "did you mean .save_best_only"),
        (lambda: BackupAndRestore(""), ValueError, "^Empty `backup_dir` argument passed$"),
        (lambda: BackupAndRestore("a", save_freq=0.5), ValueError, "^Invalid value for argument `save_freq`"),
        (
            lambda: BackupAndRestore("a", save_before_preemption=True),
            TypeError,
            r"'save_before_preemption'; instead, write KerasCheckpoint with OnPreempt\(\) in the save of a policy$",
        ),
        (lambda: EarlyStopping("val_loss", 0, 3, patiance=3), TypeError, "did you mean .patience"),
    ],
)
def test_a_refused_argument_gets_the_error_of_the_original_and_what_to_write_instead(make, error, instead):
    with pytest.raises(error, match=instead):
        make()


@pytest.mark.parametrize("argument", ["min_delta", "patience", "baseline", "start_from_epoch"])
def test_text_for_a_number_is_refused_before_training(argument):
    with pytest.raises(TypeError, match=f"^EarlyStopping: {argument} is '2', which is text; .* write {argument}=2$"):
        EarlyStopping("val_loss", **{argument: "2"})
    with pytest.raises(TypeError, match=r"^ModelCheckpoint: initial_value_threshold is 'no'"):
        ModelCheckpoint("a.keras", initial_value_threshold="no")
