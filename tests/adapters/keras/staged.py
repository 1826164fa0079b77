"""Models of many kinds, and the files that Keras and this package write of them."""

import io
import zipfile

import h5py
import keras
import numpy as np

from ckpt_callbacks.formats.keras import archive as keras_zip
from ckpt_callbacks.formats.keras.suffix import KERAS
from ckpt_callbacks.keras.embedded import FitState
from ckpt_callbacks.keras.model.objects import optimizers
from tests.adapters.keras.task import BACKEND, model

CARRIED = FitState(run={"state": 1}, record={"id": "a"})


@keras.saving.register_keras_serializable("test_staging")
class Averaging(keras.layers.Dense):
    """A layer that saves other values than it trains with, and objects that are not variables."""

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
    return [*trained.variables, *(v for optimizer in optimizers(trained).values() for v in optimizer.variables)]


def saved(trained):
    return [*trained.weights, *trained.optimizer.variables]


def trained_a_little(made):
    """Return the model with the optimizer's slots created, and a different value in each variable."""
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


def quantized():
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
    "int8": quantized,
    "custom": averaging,
    "nested": nested,
    "assets": vocabulary,
    "no_optimizer": lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="bare"),
    "no_weights": lambda: keras.Sequential([keras.Input((3,)), keras.layers.Flatten()], name="empty"),
}


def disturb(trained):
    """Change every variable, as training does."""
    for variable in variables(trained):
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))


def by_keras(trained, path):
    if path.suffix == KERAS:
        trained.save(path)
    else:
        keras.saving.save_weights(trained, path, objects_to_skip=list(optimizers(trained).values()))
    return contents(path)


def contents(path):
    """Return the contents of a file, except this package's data and the date, as values that can be compared."""
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
    return {name: item for name, item in found.items() if not name.startswith("ckpt_callbacks")}


def written(snapshot, path):
    assert not snapshot.live
    told = snapshot.write(path)
    snapshot.release()
    return told
