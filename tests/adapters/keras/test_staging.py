"""Snapshots of a model, and their files."""

import io
import shutil
import subprocess
import zipfile

import h5py
import keras
import numpy as np
import pytest

from ckpt_callbacks.errors import StoreError
from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.keras import embedded_dataset
from ckpt_callbacks.formats.keras import writer as writing
from ckpt_callbacks.formats.keras.layout import lay_out
from ckpt_callbacks.formats.keras.suffix import KERAS, WEIGHTS
from ckpt_callbacks.formats.zip_member import open_member
from ckpt_callbacks.keras.model.load import read_embedded
from ckpt_callbacks.keras.staging import KerasStaging
from tests.adapters.keras.staged import (
    CARRIED,
    MODELS,
    by_keras,
    contents,
    dense,
    disturb,
    nested,
    saved,
    trained_a_little,
    written,
)
from tests.adapters.keras.task import BACKEND, ONCE, fit, quick
from tests.support.variants import only_quick


@pytest.mark.parametrize("kind", only_quick(MODELS, *(MODELS.keys() - {"int8"})))
def test_files_hold_what_keras_would_have_written_at_that_moment(tmp_path, caplog, kind):
    if kind == "assets" and BACKEND != "tensorflow":
        pytest.skip("strings need TensorFlow")
    trained, taken = MODELS[kind](), KerasStaging()
    suffixes = [WEIGHTS] if kind == "nested" else [KERAS, WEIGHTS]  # it has no config
    expected = [by_keras(trained, tmp_path / f"keras{suffix}") for suffix in suffixes]
    snapshots = [taken.stage(trained, suffix, CARRIED) for suffix in suffixes]
    disturb(trained)
    for suffix, snapshot, theirs in zip(suffixes, snapshots, expected, strict=True):
        told = written(snapshot, ours := tmp_path / f"ours{suffix}")
        assert contents(ours) == theirs
        assert told.digest.startswith("xxh3_128:") and told.size == ours.stat().st_size
    assert not caplog.messages


def test_a_loaded_file_continues_training_where_the_model_was(tmp_path):
    trained = dense()
    written(KerasStaging().stage(trained, KERAS, CARRIED), tmp_path / "ours.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    pairs = zip(saved(trained), saved(loaded), strict=True)
    assert all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in pairs)
    assert read_embedded(tmp_path / "ours.keras") == CARRIED
    if shutil.which("unzip"):
        assert not subprocess.run(["unzip", "-t", tmp_path / "ours.keras"], capture_output=True).returncode
    with zipfile.ZipFile(tmp_path / "ours.keras") as found:
        assert found.testzip() is None
        data = found.read(keras_zip.WEIGHTS)
    with open_member(tmp_path / "ours.keras", keras_zip.WEIGHTS) as member:
        assert member.read() == data and member.seek(-9, io.SEEK_END) == len(data) - 9
        assert member.seek(4, io.SEEK_CUR) == len(data) - 5 and member.read(99) == data[-5:]
    assert (tmp_path / "ours.keras").read_bytes().index(data[:512]) % 4096 == 0


@ONCE
def test_the_record_is_in_a_file_of_weights(tmp_path):
    written(KerasStaging().stage(quick(), WEIGHTS, CARRIED), tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5") as file:
        assert embedded_dataset.read(file) == {"record": {"id": "a"}}


@ONCE
def test_a_model_may_change_between_saves(tmp_path, caplog):
    """No older layout is used, and all files are written directly."""
    trained, taken = dense(), KerasStaging()

    def recompiled(optimizer):
        trained.compile(optimizer, "sparse_categorical_crossentropy")
        trained_a_little(trained)

    changes = {
        "nothing": lambda: None,
        "training": lambda: fit(trained, epochs=1),
        "an optimizer with other slots": lambda: recompiled(keras.optimizers.SGD(0.1, momentum=0.9)),
        "an optimizer in an optimizer": lambda: recompiled(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
        ),
        "a layer more": lambda: trained.add(keras.layers.Dense(3)),
        "LoRA": lambda: trained.layers[0].enable_lora(2),
        "a layer less": lambda: trained.pop(),
    }
    for number, (change, make) in enumerate(changes.items()):
        make()
        for suffix in (KERAS, WEIGHTS):
            told = written(taken.stage(trained, suffix, CARRIED), ours := tmp_path / f"ours{number}{suffix}")
            assert contents(ours) == by_keras(trained, tmp_path / f"keras{number}{suffix}"), change
            assert told.digest is not None, change
    assert not caplog.messages


def test_two_snapshots_that_wait_are_apart_and_their_memory_is_used_again(tmp_path):
    trained, taken = quick(), KerasStaging()
    taken.prepare(taken.expected_size(trained, KERAS))
    snapshots, expected = [], []
    for number in range(2):
        expected.append(by_keras(trained, tmp_path / f"keras{number}.keras")[-1])
        snapshots.append(taken.stage(trained, KERAS, CARRIED))
        disturb(trained)
    arenas = [snapshot.arena for snapshot in snapshots]
    for number, snapshot in enumerate(snapshots):
        written(snapshot, tmp_path / f"ours{number}.keras")
        assert contents(tmp_path / f"ours{number}.keras")[-1] == expected[number]
    last = taken.stage(trained, KERAS, CARRIED)
    assert last.arena in arenas
    taken.release()
    assert [arena.size for arena in arenas if arena is not last.arena] == [0]
    written(last, tmp_path / "last.keras")
    assert last.arena.size == 0, "what comes back after the end is given back at once"


@ONCE
def test_a_snapshot_is_written_again_after_a_failure(tmp_path, monkeypatch):
    trained = quick()
    snapshot = KerasStaging().stage(trained, KERAS, CARRIED)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(OSError, match="No space left on device"):
            snapshot.write(tmp_path / "a.keras")
    written(snapshot, tmp_path / "a.keras")
    assert contents(tmp_path / "a.keras") == by_keras(trained, tmp_path / "b.keras")


@ONCE
@pytest.mark.parametrize("suffix", [KERAS, WEIGHTS])
def test_a_wrong_layout_is_noticed_and_keras_writes_the_file(tmp_path, monkeypatch, caplog, suffix):
    def wrong(groups, facts):
        made = lay_out(groups, facts)
        first, second = (number for number in made.pieces if number in (0, 2))  # of different values
        swapped = {0: second, 2: first}
        return type(made)(made.size, tuple(swapped.get(p, p) if isinstance(p, int) else p for p in made.pieces))

    monkeypatch.setattr(writing, "lay_out", wrong)
    made = [keras.Input((8,)), keras.layers.Dense(8, use_bias=False), keras.layers.Dense(8), keras.layers.Dense(8)]
    trained, taken = keras.Sequential(made, name="square"), KerasStaging()
    for number in range(2):
        told = written(taken.stage(trained, suffix, CARRIED), tmp_path / f"ours{number}{suffix}")
        assert contents(tmp_path / f"ours{number}{suffix}") == by_keras(trained, tmp_path / f"keras{number}{suffix}")
        assert told.digest is None
    assert [m.rpartition(": ")[0] for m in caplog.messages] == [
        "KerasCheckpoint: switched to Keras' own, slower writer"
    ]


@ONCE
def test_only_the_first_file_of_a_layout_is_opened(tmp_path, monkeypatch):
    opened, real = [], h5py.File
    monkeypatch.setattr(h5py, "File", lambda *given, **settings: opened.append(given) or real(*given, **settings))
    taken = KerasStaging()
    small, large = (keras.Sequential([keras.Input((8,)), *(keras.layers.Dense(8) for _ in range(n))]) for n in (2, 3))
    for number, (one, is_first) in enumerate([(small, 1), (small, 0), (large, 1), (large, 0), (small, 0)]):
        snapshot = taken.stage(one, KERAS, CARRIED)
        opened.clear()
        told = snapshot.write(path := tmp_path / f"ours{number}.keras")
        snapshot.release()
        assert bool(opened) == is_first and told.shapes == ()
        assert contents(path) == by_keras(one, tmp_path / f"keras{number}.keras")


@ONCE
def test_what_keras_cannot_store_is_an_error(tmp_path, caplog):
    class Told(keras.layers.Dense):
        def save_own_variables(self, store):
            store["text"] = np.bytes_(b"words")

    trained = keras.Sequential([keras.Input((4,)), Told(2)], name="told")
    with pytest.raises(StoreError, match="Keras cannot save 'told': Invalid dtype: bytes40"):
        KerasStaging().stage(trained, WEIGHTS, CARRIED).write(tmp_path / "a.weights.h5")
    assert not caplog.messages


@ONCE
def test_a_model_that_keras_refuses_is_one_error_and_no_warning(tmp_path, caplog):
    trained = nested()
    trained.layers[0].save_own_variables = lambda store: (_ for _ in ()).throw(NotImplementedError("it keeps all"))
    with pytest.raises(StoreError, match="Keras cannot save 'nested': it keeps all"):
        KerasStaging().stage(trained, KERAS, CARRIED).write(tmp_path / "a.keras")
    assert not caplog.messages
