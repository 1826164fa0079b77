"""Rules that need only the weights: Keras loads the reduced files, and resumes from the whole ones."""

import warnings

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

from ckpt_callbacks import Contents, Every, KeepAll, KeepBest, KeepLast, Policy, Status
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.formats.keras.archive import WEIGHTS
from ckpt_callbacks.formats.keras.check import tensors
from ckpt_callbacks.formats.zip_member import open_member
from tests.adapters.keras.task import VAL, checkpoint, digits, fit, model, quick
from tests.adapters.keras.test_optimizers import in_a_list, in_attributes, made


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


EACH_WEIGHTS = Policy(Every(epochs=1), KeepAll(contents="weights"))
BEST_WEIGHTS = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents="weights"))


def loss_of(path):
    with warnings.catch_warnings(record=True):  # Keras says that the optimizer has no state
        warnings.simplefilter("always")
        loaded = keras.saving.load_model(path)
    return loaded.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("format", [None, "h5"])
def test_a_reduced_file_is_loaded_and_evaluated_as_any_other(tmp_path, format):
    ours = checkpoint(tmp_path, EACH_WEIGHTS, format=format)
    fit(quick(), ours)
    first, second, last = ours.records()
    assert [record.status for record in (first, second, last)] == [Status.THINNED, Status.THINNED, Status.VERIFIED]
    assert first.size < 0.8 * last.size
    for record in (first, second):
        assert loss_of(record.path) == pytest.approx(record.metrics["val_loss"], rel=1e-5)


@pytest.mark.slow
def test_a_run_resumes_and_the_best_weights_come_back(tmp_path):
    whole = model()
    fit(whole, checkpoint(tmp_path / "whole", BEST_WEIGHTS), epochs=5)
    fit(model(), checkpoint(tmp_path / "run", BEST_WEIGHTS), epochs=3)
    resumed, ours = model(), checkpoint(tmp_path / "run", BEST_WEIGHTS)
    fit(resumed, ours, epochs=5)
    assert all(np.array_equal(a, b) for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True))
    again = checkpoint(tmp_path / "best", BEST_WEIGHTS, restore_best_weights=True)
    trained = model()
    fit(trained, again, epochs=5)
    loss = trained.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(again.best().metrics["val_loss"], rel=1e-5)


@pytest.mark.parametrize("format", [None, "h5"])
def test_no_run_resumes_from_a_reduced_file_and_the_error_says_so(tmp_path, format):
    ours = checkpoint(tmp_path, EACH_WEIGHTS, format=format)
    fit(quick(), ours)
    first = ours.records()[0].path
    with pytest.raises(ResumeError, match=f"{first.name}: holds only weights, so a run cannot be resumed from it"):
        fit(quick(), checkpoint(tmp_path, EACH_WEIGHTS, format=format, resume=first))


@pytest.mark.parametrize("hold", [in_attributes, in_a_list])
def test_the_state_of_each_optimizer_goes(tmp_path, hold):
    (x, y), _ = digits()
    duel, ours = made(hold), checkpoint(tmp_path, EACH_WEIGHTS)
    duel.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[ours])
    reduced, whole = (names_in(record.path) for record in ours.records())
    assert len(reduced) == len(duel.weights) and reduced < whole
    assert {name.partition("/")[0] for name in whole - reduced} >= {"optimizer"}


def names_in(path):
    with open_member(path, WEIGHTS) as member, h5py.File(member) as file:
        return {name for name, _ in tensors(file)}


@pytest.mark.parametrize(
    ("format", "dtype"), [(None, "bf16"), slow(None, "fp16"), slow("h5", "bf16"), slow("h5", "fp16")]
)
def test_rounded_weights_are_loaded_into_a_float32_model(tmp_path, format, dtype):
    contents = Contents("weights", dtype)
    ours = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll(contents=contents)), format=format)
    fit(quick(), ours, epochs=2)
    first, last = ours.records()
    assert (first.status, first.reduced["dtype"], last.status) == (Status.THINNED, dtype, Status.VERIFIED)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        loaded = keras.saving.load_model(first.path)
    assert {weight.dtype for weight in loaded.weights} == {"float32"}
    rounded = np.concatenate([np.ravel(keras.ops.convert_to_numpy(weight)) for weight in loaded.weights])
    assert np.array_equal(rounded, rounded.astype(TYPES[dtype]).astype("float32"))
    loss = loaded.evaluate(*digits()[1], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(first.metrics["val_loss"], rel=0.01)
    again = quick(seed=8)
    again.load_weights(first.path)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), loaded.get_weights(), strict=True))


TYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}


@pytest.mark.parametrize("format", [None, slow("h5")])
def test_the_rest_is_loaded_where_a_layer_is_left_out(tmp_path, format, caplog):
    trained = quick()
    first, second = (layer.name for layer in trained.layers if layer.weights)
    contents = Contents("weights", "bf16", drop=first, reference="hub/digits")
    ours = checkpoint(tmp_path, Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL, contents=contents)),
                      format=format, restore_best_weights=True)  # fmt: skip
    fit(trained, ours, Worse(), epochs=2)
    best = ours.best()
    assert best.epoch == 1 and best.reduced["dropped"]["tensors"] == 2
    before = trained.get_layer(second).get_weights()
    fresh = keras.models.clone_model(trained)
    own = fresh.get_layer(first).get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names the layers that it skips
        fresh.load_weights(best.path, skip_mismatch=True, **({"by_name": True} if format else {}))
    assert all(np.array_equal(a, b) for a, b in zip(fresh.get_layer(first).get_weights(), own, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(fresh.get_layer(second).get_weights(), before, strict=True))
    (line,) = [m for m in caplog.messages if "its weights were loaded as it holds them" in m]
    assert f"weights, bf16, without {first}" in line


class Worse(keras.callbacks.Callback):
    """Makes each epoch worse than the one before."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = float(epoch)


def weights_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keras.saving.load_model(path).get_weights()


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize(
    ("format", "swaps", "source"),
    [
        (None, False, "ema"),
        *(
            slow(format, swaps, source)
            for format in (None, "h5") for swaps in (False, True) for source in ("ema", "model", None)
            if (format, swaps, source) != (None, False, "ema")
        ),
    ],
)  # fmt: skip
def test_the_averages_or_the_trained_weights_are_kept(tmp_path, format, swaps, source):
    """With ``swap_on_epoch``, Keras puts the averages into the model before the save."""
    policy = Policy(Every(epochs=1), KeepAll(contents=Contents("weights", source=source)))
    ours, watch = checkpoint(tmp_path / "run", policy, format=format), Watch()
    swapping = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if swaps else []
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)
    fit(quick(optimizer=optimizer), *swapping, watch, ours, epochs=2)
    first, (own, other) = ours.records()[0], watch.seen[0]
    assert (first.status, first.reduced.get("source")) == (Status.THINNED, source)
    average, trained = (own, other) if swaps else (other, own)
    assert not same(average, trained)
    assert same(weights_of(first.path), {"ema": average, "model": trained, None: own}[source])


class Watch(keras.callbacks.Callback):
    """Records the weights of the model, and what its optimizer holds as averages, at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        averages = self.model.optimizer._model_variables_moving_average
        self.seen.append((self.model.get_weights(), [np.array(keras.ops.convert_to_numpy(one)) for one in averages]))


@pytest.mark.parametrize("format", [None, slow("h5")])
def test_frozen_layers_are_left_out_and_name_their_base(tmp_path, format):
    trained = quick()
    frozen, head = (layer for layer in trained.layers if layer.weights)
    frozen.trainable = False
    trained.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    ours = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll(contents=Contents("weights", weights="trainable"))),
                      format=format)  # fmt: skip
    fit(trained, ours, epochs=3)
    first, second, last = ours.records()
    assert first.reduced["dropped"]["tensors"] == 2 and first.reduced["base"] == second.reduced["base"]
    assert last.contents == "full"
    own = frozen.get_weights()
    again = keras.models.clone_model(trained)
    before = again.get_layer(frozen.name).get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names the layers that it skips
        again.load_weights(second.path, skip_mismatch=True, **({"by_name": True} if format else {}))
    assert same(again.get_layer(frozen.name).get_weights(), before) and not same(before, own)
    assert not same(again.get_layer(head.name).get_weights(), head.get_weights()), "the third epoch trained it"


@pytest.mark.parametrize("format", [None, slow("h5")])
def test_the_best_weights_come_back_where_frozen_layers_were_left_out(tmp_path, format, caplog):
    trained = quick()
    frozen, _ = (layer for layer in trained.layers if layer.weights)
    frozen.trainable = False
    trained.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    rules = KeepLast(1) | KeepBest(1, by=VAL, contents=Contents("weights", weights="trainable"))
    ours = checkpoint(tmp_path, Policy(Every(epochs=1), rules), format=format, restore_best_weights=True)
    seen = Seen()
    fit(trained, seen, ours, Worse(), epochs=2)
    best = ours.best()
    assert best.epoch == 1 and best.reduced["dropped"]["tensors"] == 2
    assert same(trained.get_weights(), seen.weights[0]) and not same(*seen.weights)
    (line,) = [m for m in caplog.messages if "its weights were loaded as it holds them" in m]
    assert "weights, trainable" in line


class Seen(keras.callbacks.Callback):
    """Notes the weights at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


def test_without_averages_the_file_stays_whole_with_a_line(tmp_path, caplog):
    policy = Policy(Every(epochs=1), KeepAll(contents=Contents("weights", source="ema")))
    ours = checkpoint(tmp_path, policy)
    fit(quick(), ours)
    assert {record.contents for record in ours.records()} == {"full"}
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "it holds no averages for source='ema'; expected an optimizer with use_ema=True" in line
