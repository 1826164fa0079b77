"""Snapshots of a model: what they hold, and that their files are Keras' own."""

import importlib.util
import io
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras.src.saving import saving_lib

from ckpt_callbacks.errors import StoreError
from ckpt_callbacks.formats import zip_writer as archive
from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.keras import embedded_dataset
from ckpt_callbacks.formats.keras import writer as writing
from ckpt_callbacks.formats.keras.entries import Entry, Group
from ckpt_callbacks.formats.keras.layout import lay_out, unlike
from ckpt_callbacks.formats.keras.sparse_file import SparseFile
from ckpt_callbacks.formats.keras.suffix import KERAS, LEGACY, WEIGHTS
from ckpt_callbacks.formats.zip_member import open_member
from ckpt_callbacks.keras import staging
from ckpt_callbacks.keras.embedded import Carried
from ckpt_callbacks.keras.model.load import read_embedded
from ckpt_callbacks.keras.model.parts import optimizers, shapes
from ckpt_callbacks.keras.staging import KerasStaging
from ckpt_callbacks.memory.pages import PAGE
from tests.adapters.keras.task import BACKEND, ONCE, fit, model, quick

CARRIED = Carried(snapshot={"state": 1}, record={"id": "a"})


@keras.saving.register_keras_serializable("test_staging")
class Averaging(keras.layers.Dense):
    """Saves other values than it trains with, and things that are no variables."""

    def save_own_variables(self, store):
        kept = self.kernel.numpy() if BACKEND == "tensorflow" else keras.ops.convert_to_numpy(self.kernel).copy()
        self.kernel.assign(kept * 0.5)
        super().save_own_variables(store)
        self.kernel.assign(kept)
        store["steps"] = 3
        store["scale"] = np.arange(4.0)
        assert "steps" in store and len(store) == len(store.keys()) and int(store["steps"]) == 3


class Nested(keras.Model):
    """A subclassed model with layers in containers, and without a config."""

    def __init__(self):
        super().__init__(name="nested")
        self.blocks = {"a": [keras.layers.Dense(4), keras.layers.Dropout(0.5)], "b": keras.layers.Dense(4)}
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(10)

    def call(self, x):
        return self.head(self.norm(self.blocks["b"](self.blocks["a"][1](self.blocks["a"][0](x)))))


def variables(trained):
    return [*trained.variables, *(v for optimizer in optimizers(trained) for v in optimizer.variables)]


def saved(trained):
    return [*trained.weights, *trained.optimizer.variables]


def trained_a_little(made):
    """Give the optimizer its slots, and all variables values that differ from each other."""
    made.optimizer.build(made.trainable_variables)
    random = np.random.default_rng(len(made.variables))
    for variable in variables(made):
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(random.random(variable.shape))
    return made


def dense(policy=None):
    made = model(run_eagerly=True)
    if policy is not None:
        layers = [keras.layers.Dense(8, dtype=policy), keras.layers.Dense(10, "softmax", dtype=policy)]
        made = keras.Sequential([keras.Input((64,)), *layers], name="digits")
        made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    return trained_a_little(made)


def with_lora():
    made = dense()
    made.layers[0].enable_lora(2)
    made.compile("adam", "sparse_categorical_crossentropy")
    return trained_a_little(made)


def quantised():
    made = dense()
    made.quantize("int8")
    return made


def averaging():
    made = keras.Sequential([keras.Input((64,)), Averaging(8), keras.layers.Dense(10)], name="averaging")
    made.compile("sgd", "mse")
    return made


def vocabulary():
    lookup = keras.layers.StringLookup(vocabulary=["one", "two", "drei \N{LATIN SMALL LETTER U WITH DIAERESIS}"])
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup, keras.layers.Embedding(5, 2)], name="words")


def nested():
    made = Nested()
    made.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    made(np.zeros((1, 64)))
    return trained_a_little(made)


MODELS = {
    "dense": dense,
    "mixed_float16": lambda: dense("mixed_float16"),
    "bfloat16": lambda: dense("bfloat16"),
    "lora": with_lora,
    "int8": quantised,
    "custom": averaging,
    "nested": nested,
    "assets": vocabulary,
    "no_optimizer": lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="bare"),
    "no_weights": lambda: keras.Sequential([keras.Input((3,)), keras.layers.Flatten()], name="empty"),
}


def disturb(trained):
    """Change every variable, as training goes on."""
    for variable in variables(trained):
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))


def by_keras(trained, path):
    if path.suffix == KERAS:
        trained.save(path)
    else:
        keras.saving.save_weights(trained, path, objects_to_skip=optimizers(trained))
    return contents(path)


def contents(path):
    """All that is in a file but ours and its date, as values that can be compared."""
    if path.suffix != KERAS:
        with h5py.File(path) as file:
            return described(file)
    with zipfile.ZipFile(path) as found:
        names = found.namelist()
        parts = {name: found.read(name) for name in names if name not in (keras_zip.METADATA, keras_zip.WEIGHTS)}
        with h5py.File(io.BytesIO(found.read(keras_zip.WEIGHTS))) as file:
            return names[:3], sorted(names), parts, described(file)


def described(file):
    found = {}

    def visit(name, item):
        attributes = sorted((key, str(value)) for key, value in item.attrs.items())
        is_data = isinstance(item, h5py.Dataset)
        found[name] = (attributes, (item.dtype, item.shape, item[()].tobytes()) if is_data else None)

    visit("", file)
    file.visititems(visit)
    found.pop(embedded_dataset.DATASET, None)
    return found


def written(snapshot, path):
    assert not snapshot.live
    told = snapshot.write(path)
    snapshot.release()
    return told


@pytest.mark.parametrize("kind", MODELS)
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


def test_a_loaded_file_trains_on_where_the_model_was(tmp_path):
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
    """Nothing of an older layout is used, and the files are laid down directly throughout."""
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
    taken.prepare(taken.expected_size(trained, KERAS), KERAS)
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
def test_a_layout_that_is_wrong_is_found_out_and_keras_writes(tmp_path, monkeypatch, caplog, suffix):
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
def test_what_keras_cannot_store_is_an_error(tmp_path, caplog):
    class Told(keras.layers.Dense):
        def save_own_variables(self, store):
            store["text"] = np.bytes_(b"words")

    trained = keras.Sequential([keras.Input((4,)), Told(2)], name="told")
    with pytest.raises(StoreError, match="Keras cannot save 'told': Invalid dtype: bytes40"):
        KerasStaging().stage(trained, WEIGHTS, CARRIED).write(tmp_path / "a.weights.h5")
    assert not caplog.messages


def live(snapshot, path):
    assert snapshot.live
    told = snapshot.write(path)
    snapshot.release()
    return told


@ONCE
def test_training_waits_where_nothing_can_be_copied_and_that_is_said_once(tmp_path, monkeypatch, caplog):
    class Own(keras.Sequential):
        def save(self, *arguments, **settings):
            return super().save(*arguments, **settings)

    real = saving_lib._save_state

    def stricter(saveable, weights_store, *rest, **settings):
        if type(weights_store) is not saving_lib.H5IOStore:
            raise ValueError("only Keras' own store is accepted")
        return real(saveable, weights_store, *rest, **settings)

    trained = quick()
    own = Own([keras.Input((4,)), keras.layers.Dense(2)], name="own")
    cases = {
        "the legacy .h5 format cannot": (trained, LEGACY, None),
        "Own.save is not Keras' own": (own, KERAS, None),
        "only Keras' own store is accepted": (trained, KERAS, (saving_lib, "_save_state", stricter)),
        "MiB are available": (trained, KERAS, ("ckpt_callbacks.memory.arena.available_memory", lambda: 0)),
    }
    for number, (said, (one, suffix, change)) in enumerate(cases.items()):
        taken = KerasStaging()
        with monkeypatch.context() as patch:
            if change is not None:
                patch.setattr(*change)
            caplog.clear()
            for again in range(2):
                told = live(taken.stage(one, suffix, CARRIED), path := tmp_path / f"{number}{again}{suffix}")
                assert told.shapes == shapes(one)
            ours = [m for name, _, m in caplog.record_tuples if name == "ckpt_callbacks"]
            assert len(ours) == 1 and said in ours[0] and f"training waits while '{one.name}' is written" in ours[0]
        if suffix == KERAS:
            assert contents(path)[1:] == by_keras(one, tmp_path / f"keras{number}.keras")[1:]


@ONCE
def test_without_staging_nothing_is_copied_or_said(tmp_path, caplog):
    live(KerasStaging("none").stage(quick(), KERAS, CARRIED), tmp_path / "a.keras")
    assert read_embedded(tmp_path / "a.keras") == CARRIED
    assert not caplog.messages


@ONCE
def test_a_model_that_keras_refuses_is_one_error_and_no_warning(tmp_path, caplog):
    trained = nested()
    trained.layers[0].save_own_variables = lambda store: (_ for _ in ()).throw(NotImplementedError("it keeps all"))
    with pytest.raises(StoreError, match="Keras cannot save 'nested': it keeps all"):
        KerasStaging().stage(trained, KERAS, CARRIED).write(tmp_path / "a.keras")
    assert not caplog.messages


@ONCE
def test_another_keras_inside_is_no_error(tmp_path, monkeypatch, caplog):
    """The module is imported anew, where a class of Keras' is not found any more."""
    monkeypatch.delitem(sys.modules, "ckpt_callbacks.keras.model.walk")
    monkeypatch.delattr("keras.src.optimizers.base_optimizer.BaseOptimizer")
    spec = importlib.util.spec_from_file_location("ckpt_callbacks.keras.staging_anew", staging.__file__)
    anew = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, anew)
    spec.loader.exec_module(anew)
    live(anew.KerasStaging().stage(quick(), WEIGHTS, CARRIED), tmp_path / "a.weights.h5")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is not as expected inside: cannot import name 'BaseOptimizer'" in caplog.text


DTYPES = ["float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int64", "bool", "complex64"]
ENTRIES = st.builds(
    lambda number, dtype, shape: Entry(str(number), np.dtype(dtype), tuple(shape)),
    st.integers(0, 99), st.sampled_from(DTYPES), st.lists(st.integers(0, 40), max_size=3),
)  # fmt: skip
GROUPS = st.builds(
    lambda path, name, entries: Group(path, (("name", name),) if name else (), tuple(entries)),
    st.sampled_from(["", "a", "layers/b", "layers/c/d"]), st.text("ab\N{SNOWMAN}", max_size=3),
    st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry.key),
)  # fmt: skip


@ONCE
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(GROUPS, max_size=4, unique_by=lambda group: group.path), st.integers(0, 9000), st.randoms())
def test_any_layout_is_what_hdf5_reads(tmp_path, groups, facts, random):
    entries = [entry for group in groups for entry in group.entries]
    data = [bytearray(random.randbytes(entry.nbytes)) for entry in entries]
    for entry, each in zip(entries, data, strict=True):
        if entry.dtype == bool:
            each[:] = bytes(byte & 1 for byte in each)
    layout = lay_out(groups, facts)
    path = Path(tmp_path, "a.h5")
    path.write_bytes(b"".join(layout.filled([*map(memoryview, data), memoryview(b"x" * facts)])))
    assert path.stat().st_size == layout.size
    arrays = [np.ndarray(entry.shape, entry.dtype, bytes(each)) for entry, each in zip(entries, data, strict=True)]
    with h5py.File(path) as file:
        assert unlike(file, groups, arrays) is None
        assert not facts or file[embedded_dataset.DATASET][()].tobytes() == b"x" * facts
        changed = next((n for n, e in enumerate(entries) if e.nbytes), None)
        if changed is not None:
            arrays[changed] = np.ndarray(
                entries[changed].shape, entries[changed].dtype, bytes(b ^ 1 for b in data[changed])
            )
            assert "holds other values" in unlike(file, groups, arrays)
            lost = next(group for group in groups if group.entries)  # one without any leaves no trace
            rest = [group for group in groups if group is not lost]
            assert "differ" in unlike(file, rest, arrays)


OFFSETS = st.integers(0, 20_000)
CALLS = st.one_of(
    st.tuples(st.just("seek"), OFFSETS),
    st.tuples(st.just("write"), st.binary(max_size=9000)),
    st.tuples(st.just("read"), OFFSETS),
    st.tuples(st.just("grow"), OFFSETS),
)


@ONCE
@given(st.lists(CALLS, max_size=12))
def test_a_sparse_file_is_a_file(calls):
    ours, real = SparseFile(), io.BytesIO()
    for name, value in calls:
        if name == "grow":  # BytesIO does not grow by truncate
            ours.truncate(ours.size + value)
            place = real.tell()
            real.seek(0, io.SEEK_END)
            real.write(bytes(value))
            real.seek(place)
        elif name == "write" and not value:
            continue
        else:
            assert getattr(ours, name)(value) == getattr(real, name)(value)
        assert ours.tell() == real.tell()
    ours.seek(0)
    assert ours.read() == ours.piece(0, ours.size) == real.getvalue()


@ONCE
def test_an_archive_of_more_than_4_gib_is_listed_right(tmp_path):
    stamp, huge = archive.timestamp(), (5 << 30) + 1
    first = archive.Member("a.json", 3, 0x352441C2, 0, stamp)
    large = archive.Member("model.weights.h5", huge, 0, first.end, stamp, align=PAGE)
    last = archive.Member("b\N{SNOWMAN}", 3, 0x352441C2, large.end, stamp)
    with open(tmp_path / "a.zip", "wb") as file:
        for member in (first, large, last):
            file.seek(member.offset)
            file.write(member.header() + (b"abc" if member.size == 3 else b""))
        file.seek(last.end)
        file.write(archive.directory([first, large, last]))
    with zipfile.ZipFile(tmp_path / "a.zip") as found:
        assert [(m.filename, m.file_size) for m in found.infolist()] == [
            ("a.json", 3), ("model.weights.h5", huge), ("b\N{SNOWMAN}", 3)
        ]  # fmt: skip
        assert found.read("a.json") == found.read("b\N{SNOWMAN}") == b"abc"
        with found.open("model.weights.h5") as member:
            assert member.read(9) == bytes(9)
    assert (large.offset + len(large.header())) % 4096 == 0
