"""Files that must not be resumed from, and models whose files must pass the check."""

import itertools
import json
import shutil
import zipfile

import keras
import pytest

from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import BACKEND, EACH_EPOCH_AND_STEP, ONCE, checkpoint, epochs_of, fit, quick, same
from tests.support.variants import only_quick


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A ``.keras`` and a legacy ``.h5`` of the same model."""
    folder = tmp_path_factory.mktemp("written")
    made = [checkpoint(folder / format, format=format) for format in ("keras", "h5")]
    fit(quick(), *made, epochs=1)
    return {callback.last().path.suffix: callback.last().path for callback in made}


def stacked(*units):
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(n, name=f"dense_{place}_of_{n}") for place, n in enumerate(units)]
    made = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Softmax()], name="stacked")
    made.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", run_eagerly=True)
    return made


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "units, said",
    [
        ((9, 10), "layer 'dense_0_of_9' is 64x9 + 9 in the model and 64x8 + 8 in the file; layer 'dense_1_of_10' is"),
        ((8, 10, 10), "the model's layer 'dense_2_of_10' 10x10 + 10 is not in the file"),
        ((10,), r"the file's layer '\w+' 8x10 + 10 is not in the model"),
    ],
)
def test_another_models_layers_are_named(tmp_path, written, suffix, units, said):
    with pytest.raises(ResumeError, match=said.replace(" + ", r" \+ ")) as caught:
        fit(stacked(*units), checkpoint(tmp_path, resume=written[suffix]))
    assert "\n" not in str(caught.value) and str(written[suffix]) in str(caught.value)


def rewritten(path, target, **members):
    """Return a copy of an archive with different JSON members."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            change = members.get(name.partition(".")[0])
            copy.writestr(name, json.dumps(change(json.loads(data))) if change else data)
    return target


@ONCE
def test_a_file_of_a_newer_version_is_refused(tmp_path, written):
    def newer(metadata):
        metadata["ckpt_callbacks"]["version"] = 99
        return metadata

    path = rewritten(written[".keras"], tmp_path / "newer.keras", metadata=newer)
    with pytest.raises(ResumeError, match="version is 99; expected at most 1; install a newer") as caught:
        fit(quick(), checkpoint(tmp_path / "run", resume=path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@ONCE
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("size", only_quick([0, 0.3, 0.9], 0.3))
def test_a_file_that_was_cut_off_is_one_line_and_auto_takes_the_one_before(tmp_path, caplog, written, suffix, size):
    data = written[suffix].read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(size * len(data))])
    with pytest.raises(ResumeError, match="is not a readable Keras file") as caught:
        fit(quick(), checkpoint(tmp_path / "run", resume=path))
    assert "\n" not in str(caught.value)
    ours = checkpoint(tmp_path / "auto", format=suffix[1:])
    fit(quick(), ours, epochs=2)
    ours.last().path.write_bytes(b"")
    assert epochs_of(quick(), checkpoint(tmp_path / "auto", format=suffix[1:]), epochs=2) == [1]
    assert "skipping this checkpoint and trying an older one" in caplog.text


@ONCE
def test_no_code_of_a_file_is_run(tmp_path, written):
    """The file's config has a Lambda layer whose bytecode would leave a trace."""
    trace = tmp_path / "trace"
    trap = keras.layers.Lambda(eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"), name="trap")
    trapped = keras.Sequential([keras.Input((64,)), trap])
    trapped.save(tmp_path / "trapped.keras")
    with zipfile.ZipFile(tmp_path / "trapped.keras") as archive:
        evil = json.loads(archive.read("config.json"))
    trace.unlink(missing_ok=True)  # building the trap has triggered it once
    path = rewritten(written[".keras"], tmp_path / "evil.keras", config=lambda config: evil)
    assert epochs_of(quick(), checkpoint(tmp_path / "run", resume=path), epochs=2) == [1]
    assert not trace.exists()
    keras.saving.load_model(path, safe_mode=False, compile=False)
    assert trace.exists(), "the trap works if Keras may run code"


class Noisy(keras.layers.Layer):
    """A layer with its own random generator, and no weights."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + 0.01 * keras.random.normal(keras.ops.shape(x), seed=self.seeds)


def nested():
    """Return a model within a model, with a layer that is used twice, layers without weights, and random ones."""
    keras.utils.set_random_seed(7)
    inner = [keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    shared, given = keras.layers.Dense(16, name="shared"), keras.Input((64,))
    x = shared(shared(keras.layers.Dense(16)(given)))
    x = Noisy()(keras.Sequential([keras.Input((16,)), *inner], name="inner")(x))
    made = keras.Model(given, keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(x)), name="nested")
    made.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return made


class Pair(keras.Model):
    """A model with a second optimizer."""

    def __init__(self):
        super().__init__(name="pair")
        self.first, self.last = keras.layers.Dense(16), keras.layers.Dense(10)
        self.second = keras.optimizers.Adam(0.01, name="second")

    def call(self, x):
        return keras.ops.softmax(self.last(self.first(x)))


def pair():
    keras.utils.set_random_seed(7)
    made = Pair()
    made.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    made(keras.ops.zeros((1, 64)))
    made.second.build(made.trainable_variables)
    return made


@pytest.mark.parametrize(
    ("make", "contents"), only_quick(itertools.product([nested, pair], ["full", "weights"]), (pair, "full"))
)
def test_files_of_every_structure_are_found_whole(tmp_path, caplog, make, contents):
    whole, ours = make(), checkpoint(tmp_path / "whole", EACH_EPOCH_AND_STEP, contents=contents)
    fit(whole, ours, epochs=2)
    assert [r.step for r in ours.records()] == [3, 4, 6, 8] and "not saved" not in caplog.text
    resumed = make()
    if contents == "weights":
        resumed.load_weights(ours.last().path)
    else:
        shutil.copy(ours.records()[2].path, tmp_path / "third.keras")
        again = checkpoint(tmp_path / "again", EACH_EPOCH_AND_STEP, resume=tmp_path / "third.keras")
        fit(resumed, again, epochs=2)
    assert same(whole, resumed)


def with_lora():
    """Keras writes no factors, and without momentum no variable of the optimizer has a factor's shape."""
    made = quick()
    made.layers[0].enable_lora(3)
    made.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=BACKEND != "jax")
    return made


@keras.saving.register_keras_serializable()
class Cached(keras.layers.Layer):
    """A layer that leaves its cache out of files."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.cache = self.add_weight(shape=(7, 5), trainable=False, name="cache")

    def call(self, x):
        return x * self.scale

    def save_own_variables(self, store):
        store["scale"] = keras.ops.convert_to_numpy(self.scale)

    def load_own_variables(self, store):
        self.scale.assign(store["scale"])


def with_a_cache():
    keras.utils.set_random_seed(7)
    made = keras.Sequential([keras.Input((64,)), Cached(), keras.layers.Dense(10, activation="softmax")])
    made.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=BACKEND != "jax")
    return made


@pytest.mark.parametrize("make", [with_lora, with_a_cache])
@pytest.mark.parametrize("settings", [{}, {"contents": "weights"}, {"background": False}])
def test_weights_that_a_layer_leaves_out_are_not_demanded(tmp_path, caplog, make, settings):
    ours = checkpoint(tmp_path, **settings)
    fit(make(), ours, epochs=1)
    assert ours.last().epoch == 1 and "not saved" not in caplog.text


@pytest.mark.parametrize("make", [nested, pair])
def test_a_file_that_lacks_a_tensor_is_noticed(tmp_path, caplog, monkeypatch, make):
    real = keras.Model.save

    def save(self, path, **settings):
        real(stacked(3, 10), path, **settings)

    monkeypatch.setattr(keras.Model, "save", save)
    ours = checkpoint(tmp_path)
    fit(make(), ours, epochs=1)
    assert "lacks a tensor of shape" in caplog.text and ours.records() == []
