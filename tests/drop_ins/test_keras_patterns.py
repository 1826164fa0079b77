"""The paths that people write in public scripts, and the answers to those that Keras 3 refuses."""

import keras
import numpy as np
import pytest

from ckpt_callbacks.keras import BackupAndRestore, ModelCheckpoint
from tests.adapters.keras.task import ONCE
from tests.drop_ins.keras_files import files_below, fit, tiny

pytestmark = ONCE
BOTH = {"original": keras.callbacks.ModelCheckpoint, "drop-in": ModelCheckpoint}

# The template, and the files after two epochs; X stands for a part that was computed.
WRITTEN = [
    ("my_mnist_model.h5", ["my_mnist_model.h5"]),
    ("my_checkpoints.weights.h5", ["my_checkpoints.weights.h5"]),
    ("my_cifar10_model.keras", ["my_cifar10_model.keras"]),
    ("my_cifar10_selu_model.keras", ["my_cifar10_selu_model.keras"]),
    (
        "X/ep{epoch:03d}-loss{loss:.3f}-val_loss{val_loss:.3f}.h5",
        [f"X/ep00{n}-loss0.123-val_loss0.346.h5" for n in (1, 2)],
    ),
    ("weights_coco.h5", ["weights_coco.h5"]),
    ("checkpoint_path.keras", ["checkpoint_path.keras"]),
    ("convnet_from_scratch_with_augmentation.keras", ["convnet_from_scratch_with_augmentation.keras"]),
    ("feature_extraction_with_data_augmentation.keras", ["feature_extraction_with_data_augmentation.keras"]),
    ("oxford_segmentation.keras", ["oxford_segmentation.keras"]),
    ("jena_conv.keras", ["jena_conv.keras"]),
    ("mymodel_{epoch}.keras", ["mymodel_1.keras", "mymodel_2.keras"]),
    (
        "ssd300_pascal_07+12_epoch-{epoch:02d}_loss-{loss:.4f}_val_loss-{val_loss:.4f}.h5",
        [f"ssd300_pascal_07+12_epoch-0{n}_loss-0.1234_val_loss-0.3457.h5" for n in (1, 2)],
    ),
    ("X/model_at_epoch_{epoch}.keras", ["X/model_at_epoch_1.keras", "X/model_at_epoch_2.keras"]),
    ("faceModel.h5", ["faceModel.h5"]),
    (
        "C:/study/_save/keras31/k31_X05_bike_{epoch:04d}-{val_loss:.4f}.keras",
        [f"C:/study/_save/keras31/k31_X05_bike_000{n}-0.3457.keras" for n in (1, 2)],
    ),
    ("X/ep{epoch:02d}_loss{val_loss:.4f}.keras", ["X/ep01_loss0.3457.keras", "X/ep02_loss0.3457.keras"]),
    (
        "face/model/checkpoints/model_{epoch:02d}_{val_loss:.4f}.keras",
        [f"face/model/checkpoints/model_0{n}_0.3457.keras" for n in (1, 2)],
    ),
    ("stage1_pattern_classifier.weights.h5", ["stage1_pattern_classifier.weights.h5"]),
    ("lstm_validation.weights.h5", ["lstm_validation.weights.h5"]),
    (
        "X/weights/weights_epoch_{epoch:04d}.weights.h5",
        [f"X/weights/weights_epoch_000{n}.weights.h5" for n in (1, 2)],
    ),
    ("X/best-epoch-{epoch:04d}-{val_loss:.6f}.keras", [f"X/best-epoch-000{n}-0.345670.keras" for n in (1, 2)]),
    ("X/{epoch}-{val_f1_score:.4f}-{val_loss:.4f}.keras", ["X/1-0.8765-0.3457.keras", "X/2-0.8765-0.3457.keras"]),
    ("saved_mdoel{epoch:04d}.h5", ["saved_mdoel0001.h5", "saved_mdoel0002.h5"]),
    ("X/X-{epoch:02d}-{val_loss:2f}.keras", ["X/X-01-0.345670.keras", "X/X-02-0.345670.keras"]),
    ("model.keras", ["model.keras"]),
    ("./model/weights-{epoch:04d}.h5", ["model/weights-0001.h5", "model/weights-0002.h5"]),
    (
        "X/epoch: {epoch:02d}, val_loss: {val_loss:.2f}//a.weights.h5",
        [f"X/epoch: 0{n}, val_loss: 0.35/a.weights.h5" for n in (1, 2)],
    ),
]
QUICK = {"X/{epoch}-{val_f1_score:.4f}-{val_loss:.4f}.keras", "X/weights/weights_epoch_{epoch:04d}.weights.h5"}

WEIGHTS = {"save_weights_only": True}
REFUSED = [
    ("my_shakespeare_model", {}, "my_shakespeare_model.keras"),
    ("X/ckpt-{epoch:d}", WEIGHTS, "X/ckpt-{epoch:d}.weights.h5"),
    ("X/ckpt-{epoch}", WEIGHTS, "X/ckpt-{epoch}.weights.h5"),
    ("./weights.h5", WEIGHTS, "./weights.weights.h5"),
    *(
        (f"weights/{name}_pretrained_weights.h5", WEIGHTS, f"weights/{name}_pretrained_weights.weights.h5")
        for name in ("nasnet", "inception_resnet")
    ),
    ("X/X", {}, "X/X.keras"),
    *(
        (f"{path}.hdf5", {}, f"{path}.keras")
        for path in (
            "LSTM+BN5--{epoch:02d}--{val_lev_cer:.3f}",
            "./modelCheckpoint/k46_diabets_{epoch:02d}-{val_loss:.4f}",
            "X_vgg16_.{epoch:02d}-{val_acc:.2f}",
            "weights.{epoch:02d}-{val_loss:.2f}",
            "X/seqlen.X.wmer.X.weights.{epoch:02d}-{val_loss:.2f}",
        )
    ),
    ("X/latest", WEIGHTS, "X/latest.weights.h5"),
    ("model.pth", {}, "model.keras"),
]

# The template, its other settings, the argument that Keras 3 does not have, and what to write instead of the template.
REMOVED = [
    ("X/ep{epoch:03d}-loss{loss:.3f}-val_loss{val_loss:.3f}.h5", {}, "period", None),
    ("weights_coco.h5", {}, "period", None),
    ("X", WEIGHTS, "period", "X.weights.h5"),
    ("ssd300_pascal_07+12_epoch-{epoch:02d}_loss-{loss:.4f}_val_loss-{val_loss:.4f}.h5", {}, "period", None),
    (
        "Xep{epoch:03d}-loss{loss:.3f}-val_loss{val_loss:.3f}.h5", WEIGHTS, "period",
        "Xep{epoch:03d}-loss{loss:.3f}-val_loss{val_loss:.3f}.weights.h5",
    ),
    (
        "weights-improvement-{epoch:02d}-{val_acc:.2f}.hdf5", {}, "period",
        "weights-improvement-{epoch:02d}-{val_acc:.2f}.keras",
    ),
    (
        "X/experimental/X/weights/epoch: {epoch:02d}, val_loss: {val_loss:.2f}/weights", WEIGHTS, "options",
        "X/experimental/X/weights/epoch: {epoch:02d}, val_loss: {val_loss:.2f}/weights.weights.h5",
    ),
    (
        "X/model.epoch{epoch:02d}-val_loss{val_loss:.2f}", {}, "period",
        "X/model.epoch{epoch:02d}-val_loss{val_loss:.2f}.keras",
    ),
    ("saved_mdoel{epoch:04d}.h5", {}, "period", None),
    ("X/X-{epoch:02d}-{val_loss:2f}.keras", {}, "period", None),
]  # fmt: skip


class Measure(keras.callbacks.Callback):
    """A callback before the others that puts further metrics into the logs."""

    def on_epoch_end(self, epoch, logs=None):
        logs |= {"loss": 0.12341, "val_loss": 0.34567, "val_f1_score": 0.87654}


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.mark.parametrize(
    ("template", "files"),
    [pytest.param(*row, id=row[0], marks=() if row[0] in QUICK else pytest.mark.slow) for row in WRITTEN],
)
def test_files_have_the_names_of_the_originals(tmp_path, monkeypatch, model, template, files):
    for name, kind in BOTH.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        callback = kind(template, save_weights_only=template.endswith(".weights.h5"))
        fit(model, Measure(), callback, epochs=2, validation_data=None)
        assert files_below(".") == sorted(files)


@pytest.mark.slow
def test_a_misspelt_name_of_a_metric_ends_no_training(tmp_path, monkeypatch, model):
    template = "ssd300_pascal_07+12_epoch-{epoch:02d}_val_acc-{val_acc:.4f}.keras"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match="val_acc"):
        fit(model, keras.callbacks.ModelCheckpoint(template), epochs=1)
    fit(model, ModelCheckpoint(template), epochs=2)
    assert files_below(".") == [f"ssd300_pascal_07+12_epoch-0{n}_val_acc-no_val_acc.keras" for n in (1, 2)]


def refused(template, settings, instead):
    """Raise an error unless both refuse a template, and the drop-in says what to write instead."""
    with pytest.raises(ValueError) as theirs:
        keras.callbacks.ModelCheckpoint(template, **settings)
    with pytest.raises(ValueError) as ours:
        ModelCheckpoint(template, **settings)
    assert str(ours.value) == f"{theirs.value}; instead, write filepath={instead!r}"
    ModelCheckpoint(instead, **settings)


@pytest.mark.parametrize(("template", "settings", "instead"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_keras_3_refuses_is_refused_with_what_to_write_instead(template, settings, instead):
    refused(template, settings, instead)


@pytest.mark.parametrize(("template", "settings", "removed", "instead"), REMOVED, ids=[row[0] for row in REMOVED])
def test_a_template_with_a_removed_argument_is_refused_twice_at_most(template, settings, removed, instead):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{removed}'"):
        keras.callbacks.ModelCheckpoint(template, **settings, **{removed: 5})
    with pytest.raises(TypeError, match=f"ModelCheckpoint: got an unknown argument '{removed}'; instead, write "):
        ModelCheckpoint(template, **settings, **{removed: 5})
    if instead is not None:
        refused(template, settings, instead)
        return
    for kind in BOTH.values():
        assert kind(template, **settings).filepath == template


@pytest.mark.parametrize("removed", ["period", "options", "save_format", "load_weights_on_restart"])
def test_arguments_that_were_removed_are_type_errors(removed):
    with pytest.raises(TypeError, match=f"ModelCheckpoint: got an unknown argument '{removed}'"):
        ModelCheckpoint("a.keras", **{removed: 1})


def test_a_number_of_batches_of_numpy_is_refused_as_by_keras():
    with pytest.raises(ValueError, match=r"Unrecognized save_freq: 20\.0.*; instead, write save_freq=20$"):
        ModelCheckpoint("a.keras", save_freq=5 * np.float64(4))


def test_a_metric_without_a_known_direction_is_an_error_as_with_keras(tmp_path):
    class Custom(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["map"] = 1.0

    for kind in (keras.callbacks.ModelCheckpoint, ModelCheckpoint):
        with pytest.raises(ValueError, match="received monitor=map, but Keras isn't able to automatically determine"):
            fit(tiny(), Custom(), kind(tmp_path / "a.keras", "map", save_best_only=True), epochs=1)


@pytest.mark.slow
def test_one_callback_for_several_fits_and_an_epoch_to_begin_with(tmp_path):
    found = []
    for kind in (keras.callbacks.ModelCheckpoint, ModelCheckpoint):
        folder, model = tmp_path / kind.__module__, tiny()
        callback = kind(folder / "{epoch}.keras", "loss", save_best_only=True, mode="min")
        for begin, end in ((0, 2), (2, 3)):
            fit(model, callback, epochs=end, initial_epoch=begin, shuffle=False)
        found.append((files_below(folder), callback.best))
    assert found[0] == found[1] and found[0][0] == ["1.keras", "2.keras", "3.keras"]


def test_a_callback_for_evaluate_and_predict_does_nothing(tmp_path):
    model, callback = tiny(), ModelCheckpoint(tmp_path / "a.keras")
    x = np.ones((2, 1))
    model.evaluate(x, x, verbose=0, callbacks=[callback])
    model.predict(x, verbose=0, callbacks=[callback])
    assert files_below(tmp_path) == []


@pytest.mark.slow
def test_a_name_of_a_validation_in_mid_epoch_ends_no_training(tmp_path, caplog):
    template = str(tmp_path / "{epoch}-{batch}-{val_loss:.2f}.keras")
    with pytest.raises(KeyError, match="val_loss"):
        fit(tiny(), keras.callbacks.ModelCheckpoint(template, save_freq=1), epochs=2)
    fit(tiny(), ModelCheckpoint(template, save_freq=1), epochs=2)
    assert files_below(tmp_path) == [f"{epoch}-{batch}-no_val_loss.keras" for epoch in (1, 2) for batch in (1, 2)]
    assert len([record for record in caplog.records if "is not logged" in record.getMessage()]) == 1


@pytest.mark.slow
def test_backups_in_the_directory_of_the_models_take_nothing_else_with_them(tmp_path):
    left = {}
    for kinds in (
        (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore),
        (ModelCheckpoint, BackupAndRestore),
    ):
        folder = tmp_path / kinds[0].__module__
        folder.mkdir()
        (folder / "log.csv").touch()
        fit(tiny(), kinds[0](folder / "best.keras"), kinds[1](folder), epochs=2)
        left[kinds[0]] = files_below(folder) if folder.exists() else None
    assert left == {keras.callbacks.ModelCheckpoint: None, ModelCheckpoint: ["best.keras", "log.csv"]}
