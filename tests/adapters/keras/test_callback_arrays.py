"""The arrays of other callbacks in checkpoints."""

import shutil
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.keras.suffix import KERAS, WEIGHTS
from ckpt_callbacks.keras.embedded import VolatileState
from ckpt_callbacks.keras.model.load import read_embedded
from ckpt_callbacks.keras.other_callbacks import OtherCallbacks
from ckpt_callbacks.keras.staging import KerasStaging
from tests.adapters.keras.staged import CARRIED, by_keras, contents, written
from tests.adapters.keras.task import ONCE, checkpoint, fit, model, quick, same

BFLOAT16 = np.dtype("bfloat16")


class Holding(keras.callbacks.Callback):
    """A callback that returns its state as it is, without a copy."""

    def __init__(self, state):
        super().__init__()
        self.state = self.loaded = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.loaded = state


def arrays():
    """Return arrays of every kind, most of them too large to be written as text."""
    numbers = np.arange(600.0, dtype="float32")
    objects = np.empty(2, object)
    objects[:] = [[1, np.arange(99)], {"a": None}]
    return {
        "plain": numbers, "again": numbers, "reversed": numbers[::-1], "every second": numbers[::2],
        "fortran": np.asfortranarray(numbers.reshape(20, 30)),
        "transposed": numbers.reshape(5, 4, 30).transpose(2, 0, 1), "longdouble": numbers.astype("longdouble"),
        "bfloat16": numbers.astype(BFLOAT16), "bool": numbers > 300, "complex": numbers * 1j,
        "big-endian": numbers.astype(">f8"), "small": numbers[:3].copy(), "scalar": np.float32(0.1), "0-d": np.array(7),
        "empty": np.zeros((3, 0), "float16"), "empty and wide": np.zeros((0, 5)),
        "text": np.array(["one", "zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf"] * 40),
        "bytes": np.array([b"a", b"bc"] * 150),
        "no text": np.array([""]), "dates": np.arange("2020-01", "2024-01", dtype="datetime64[D]"),
        "fields": np.zeros(50, [("a", "<i4"), ("b", "<f8", (2,))]), "objects": objects,
        "strings": np.array(["a", "long" * 9], np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else None,
        "read-only": np.broadcast_to(np.float64(3), (9, 9)),
        "nested": {"list": [numbers + 1, (numbers + 2, {"deep": numbers + 3})]},
    }  # fmt: skip


def tensors():
    numbers = np.arange(400.0, dtype="float32")
    made = [
        keras.ops.convert_to_tensor(numbers),
        keras.Variable(numbers + 1),
        keras.Variable(numbers, dtype="bfloat16"),
    ]
    return [*made, made[0]]


def equal(a, b):
    """Return whether two values are equal, with the types of all arrays."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray | np.generic):
        if np.asarray(a).dtype != np.asarray(b).dtype or a.shape != b.shape:
            return False
        return equal(a.ravel().tolist(), b.ravel().tolist()) if a.dtype == object else bool(np.all(a == b))
    return a == b


def carried(*callbacks, keep=False):
    return replace(CARRIED, volatile=VolatileState(callbacks=OtherCallbacks(callbacks).states(keep=keep)))


def owns(path):
    return [state["own"] for state in read_embedded(path).volatile.callbacks]


def overwrite(state):
    for value in state.values():
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value[...] = np.zeros((), value.dtype)


def test_arrays_of_any_kind_are_those_of_the_save(tmp_path, caplog):
    trained, state, taken = quick(), arrays(), KerasStaging()
    callbacks = [Holding(state), Holding({"tensors": tensors()})]
    snapshot = taken.stage(trained, KERAS, carried(*callbacks))
    overwrite(state)
    written(snapshot, path := tmp_path / "a.keras")
    found, (first, second, third, again) = owns(path)[0], owns(path)[1]["tensors"]
    expected = arrays()
    assert [name for name in expected if not equal(expected[name], found[name])] == []
    assert equal([first, second, again], [np.arange(400, dtype="f4"), np.arange(1, 401, dtype="f4"), first])
    assert third.dtype == BFLOAT16 and third[256] == 256
    assert contents(path) == by_keras(trained, tmp_path / "keras.keras")
    assert same(trained, keras.saving.load_model(path)) and not caplog.messages
    with zipfile.ZipFile(path) as archive:
        assert len(archive.read(keras_zip.METADATA)) < 20_000

    written(taken.stage(trained, WEIGHTS, carried(*callbacks)), path := tmp_path / "a.weights.h5")
    assert contents(path) == by_keras(trained, tmp_path / "keras.weights.h5")


@ONCE
def test_arrays_are_stored_once_and_not_at_all_if_they_equal_weights(tmp_path):
    trained, taken = model(units=2000), KerasStaging()
    trained.optimizer.build(trained.trainable_variables)
    size = sum(array.nbytes for array in trained.get_weights())
    other = [array + 1 for array in trained.get_weights()]

    def grown_by(*states):
        written(taken.stage(trained, KERAS, carried(*map(Holding, states))), path := tmp_path / "a.keras")
        assert equal(owns(path), [{key: list(value) for key, value in state.items()} for state in states])
        size = path.stat().st_size
        path.unlink()
        return size - nothing

    nothing = 0
    nothing = grown_by()
    assert grown_by({"best": trained.get_weights()}) < 5000
    assert (
        size <= grown_by({"best": other, "again": other}, {"copies": [array.copy() for array in other]}) < 1.02 * size
    )
    assert grown_by({"best": [*trained.get_weights(), other[0]]}) < other[0].nbytes + 10_000
    assert grown_by({"best": trained.get_weights()}) < 5000


@ONCE
def test_a_state_that_is_kept_for_later_does_not_change(tmp_path):
    state = {"array": np.arange(900.0), "objects": np.array([[1], None], object)}
    kept = carried(Holding(state), keep=True)
    state["objects"][0].append(2)
    overwrite(state)
    written(KerasStaging().stage(quick(), KERAS, kept), tmp_path / "a.keras")
    assert equal(owns(tmp_path / "a.keras"), [{"array": np.arange(900.0), "objects": np.array([[1], None], object)}])


@ONCE
def test_a_state_that_cannot_be_saved_is_left_out(tmp_path, caplog):
    fields = np.zeros(2, [("a", "O")])
    written(KerasStaging().stage(quick(), KERAS, carried(Holding({"a": fields}))), tmp_path / "a.keras")
    assert owns(tmp_path / "a.keras") == [None]
    assert "Holding.state_dict() failed, so its state is not saved: TypeError" in caplog.text


@ONCE
def test_keras_own_writer_and_a_second_try_write_them_as_well(tmp_path, monkeypatch):
    def refused(*_):
        raise ValueError("no layout")

    trained, usage = quick(), shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("ckpt_callbacks.formats.keras.writer.lay_out", refused)
        snapshot = KerasStaging().stage(trained, KERAS, carried(Holding(arrays())))
        with monkeypatch.context() as full:
            full.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
            with pytest.raises(OSError, match="No space left on device"):
                snapshot.write(tmp_path / "a.keras")
        assert written(snapshot, tmp_path / "a.keras").digest is None
    assert equal(owns(tmp_path / "a.keras"), [plainly(arrays())])


@ONCE
def test_files_with_arrays_as_text_are_read(tmp_path):
    """Earlier versions wrote them so, as does a save for which training waits."""
    snapshot = KerasStaging("none").stage(quick(), KERAS, carried(Holding(arrays())))
    snapshot.write(tmp_path / "a.keras")
    assert keras_zip.PLACES not in keras_zip.read(tmp_path / "a.keras")
    assert equal(owns(tmp_path / "a.keras"), [plainly(arrays())])


def plainly(value):
    """Return a value with lists instead of tuples."""
    if isinstance(value, dict):
        return {key: plainly(item) for key, item in value.items()}
    return [plainly(item) for item in value] if isinstance(value, list | tuple) else value


class Best(keras.callbacks.EarlyStopping):
    """Keeps what was restored into it."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began_with = self.best_weights


@pytest.mark.slow
def test_the_best_weights_of_early_stopping_are_resumed(tmp_path, caplog):
    def stopping():
        return Best("loss", mode="max", patience=9, restore_best_weights=True)  # the first epoch stays the best

    first = stopping()
    fit(quick(), first, checkpoint(tmp_path), epochs=2)
    resumed = stopping()
    fit(quick(), resumed, checkpoint(tmp_path), epochs=3)
    assert equal(resumed.began_with, first.best_weights)
    assert [message.split()[0] for message in caplog.messages] == ["resumed"]
    newest = max(tmp_path.glob("*.keras"), key=lambda path: path.stat().st_mtime_ns)
    assert len(keras_zip.read(newest)[keras_zip.PLACES]) == sum(w.nbytes >= 256 for w in first.best_weights)
    keras.saving.load_model(newest)
