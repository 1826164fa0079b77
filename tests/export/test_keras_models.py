"""Keras models in every format that Keras' three backends can write."""

import json
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from ckpt_callbacks import Contents, Every, ExportError, KeepEvery, KeepLast, Policy
from ckpt_callbacks.export import export
from ckpt_callbacks.keras import KerasCheckpoint
from tests.export.alone import distance, outputs_of
from tests.support.processes import ENVIRONMENT, ROOT

SUFFIXES = [".keras", ".h5", ".weights.h5", ".safetensors", ".onnx", ".tflite", ".pt2", ".torchscript"]
BACKENDS = ["tensorflow", "torch", "jax"]
# Those that no library writes on these backends; jax2onnx is optional, because it needs most of the JAX ecosystem.
REFUSED = {
    ("tensorflow", ".pt2"), ("tensorflow", ".torchscript"), ("torch", ".tflite"), ("jax", ".tflite"), ("jax", ".pt2"),
    ("jax", ".torchscript"),
}  # fmt: skip


@pytest.fixture(scope="module", params=BACKENDS)
def exported(request, tmp_path_factory):
    """The folder in which a run of this backend was exported, and what the command said about each suffix."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, "-m", "tests.export.export_keras", str(folder), *SUFFIXES]
    environment = {**ENVIRONMENT, "KERAS_BACKEND": request.param, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith(tuple(SUFFIXES))]
    return request.param, folder, {suffix: (int(code), said) for suffix, code, said in lines}


def loaded(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.export
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_backend_writes_what_it_can_and_says_which_one_writes_the_rest(exported, suffix, monkeypatch):
    backend, folder, said = exported
    code, text = said[suffix]
    target = folder / f"model{suffix}"
    if code == 2 and "jax2onnx" in text:
        assert (backend, suffix) == ("jax", ".onnx")
        assert text == (
            "Error: jax2onnx is not installed: run `pip install jax2onnx`, or export with another KERAS_BACKEND"
        )
        return
    if (backend, suffix) in REFUSED:
        other = "tensorflow" if suffix == ".tflite" else "torch"
        assert (code, text) == (
            2,
            f"Error: model{suffix}: Keras on {backend} cannot write it; expected KERAS_BACKEND={other}, which reads "
            "the same checkpoint",
        )
        assert not target.exists()
        return
    assert code == 0, text
    facts = json.loads(text)
    assert facts["relative"] <= facts["tolerance"] == 1e-4 and facts["size"] == target.stat().st_size
    weights = loaded(folder / "weights.npz")
    if suffix == ".safetensors":
        found = load_file(target)
        assert found.keys() == weights.keys() and all((found[name] == weights[name]).all() for name in weights)
    elif suffix == ".weights.h5":
        with h5py.File(target) as file:
            bias = file["layers/dense/vars/1"][()]
        assert (bias == weights["head/bias"]).all()
    else:
        monkeypatch.setitem(os.environ, "KERAS_BACKEND", backend)
        inputs = dict(zip(("image", "extra"), loaded(folder / "inputs.npz").values(), strict=True))
        assert facts["any_batch"] is True
        found = outputs_of(target, inputs, *([] if suffix in (".keras", ".h5") else ["keras"]))
        assert distance(list(loaded(folder / "outputs.npz").values()), found) <= facts["tolerance"]


def small():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_of_weights_needs_a_model_and_leaves_it_as_it_is(tmp_path):
    model = small()
    model.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ExportError, match=r"a.weights.h5: holds the weights, but no model; expected --model"):
        export(tmp_path / "a.weights.h5", tmp_path / "a.keras")
    expected = model.get_weights()
    model.set_weights([value + 1 for value in expected])
    assert export(tmp_path / "a.weights.h5", tmp_path / "a.keras", model=model).relative == 0
    assert all((a + 1 == b).all() for a, b in zip(expected, model.get_weights(), strict=True))
    found = keras.models.load_model(tmp_path / "a.keras").get_weights()
    assert all((a == b).all() for a, b in zip(expected, found, strict=True))
    assert export(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5", model=small).absolute == 0
    assert left(tmp_path) == ["a.keras", "a.weights.h5", "b.weights.h5"]


@pytest.mark.export
def test_an_exported_keras_file_holds_no_state_of_training(tmp_path):
    model = small()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "full.keras")
    done = export(tmp_path / "full.keras", tmp_path / "a.keras")
    assert done.size < (tmp_path / "full.keras").stat().st_size
    assert not keras.models.load_model(tmp_path / "a.keras").compiled


@keras.saving.register_keras_serializable("tests.export")
class Twice(keras.layers.Layer):
    """A layer whose code a file only names."""

    def call(self, x):
        return 2 * x


def test_layers_of_the_users_need_the_module_that_registers_them(tmp_path):
    keras.Sequential([keras.Input((4,)), Twice()]).save(tmp_path / "a.keras")
    keras.saving.get_custom_objects().pop("tests.export>Twice")
    with pytest.raises(ExportError, match=r"a.keras: Keras cannot load it: .*--model package.module") as caught:
        export(tmp_path / "a.keras", tmp_path / "b.h5")
    assert "\n" not in str(caught.value)
    keras.saving.get_custom_objects()["tests.export>Twice"] = Twice  # as an import of its module would
    (tmp_path / "layers.py").write_text("")
    assert export(tmp_path / "a.keras", tmp_path / "b.keras", model=str(tmp_path / "layers.py")).absolute == 0


def packed(folder, form, **more):
    """Return the path of a checkpoint of weights that is compressed or split."""
    model = small()
    model.compile("sgd", "mse", run_eagerly=True)
    more |= {"compressed": {"compression": "zstd"}, "split": {"shards": {"max_size": 100}}}[form]
    policy = Policy(Every(epochs=1), KeepLast(1) | KeepEvery(epochs=1, contents=Contents("weights", **more)))
    ours = KerasCheckpoint(folder / "run", policy)
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0, epochs=2, callbacks=[ours])
    return ours.records()[0].path


@pytest.mark.parametrize("form", ["compressed", "split"])
def test_an_error_names_the_checkpoint_and_no_temporary_file(tmp_path, caplog, form):
    path = packed(tmp_path, form)
    wider = lambda: keras.Sequential([keras.Input((9,)), keras.layers.Dense(3), keras.layers.Dense(2)])  # noqa: E731
    for given in (wider, wider()):
        with pytest.raises(ExportError) as caught:
            export(path, tmp_path / "a.keras", model=given)
        assert str(caught.value).startswith(f"{path}: Keras cannot load it: ")
        assert str(caught.value).endswith("; expected the model that wrote it")
        assert ".exporting" not in str(caught.value)
    path = packed(tmp_path / "reduced", form, drop="*/1")
    export(path, tmp_path / "a.keras", model=small)
    (line,) = [message for message in caplog.messages if "lacks" in message]
    assert line.startswith(f"{path}: lacks */1, which a rule has left out")


def test_the_file_that_cannot_be_read_back_is_named_as_it_was_asked_for(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, Twice(name="twice")(inputs)).save_weights(tmp_path / "a.weights.h5")

    def build():
        found = keras.Input((4,))
        return keras.Model(found, Twice(name="twice")(found))

    keras.saving.get_custom_objects().pop("tests.export>Twice")
    try:
        for name in ("b.h5", "b.keras"):
            with pytest.raises(ExportError) as caught:
                export(tmp_path / "a.weights.h5", tmp_path / name, model=build)
            said = str(caught.value)
            assert said.startswith(f"{tmp_path / name}: was not written: Keras cannot load it again: ")
            assert ".exporting" not in said and "--model" not in said
    finally:
        keras.saving.get_custom_objects()["tests.export>Twice"] = Twice
    assert left(tmp_path) == ["a.weights.h5"]


def test_the_code_of_layers_is_not_asked_for_twice(tmp_path):
    keras.Sequential([keras.Input((4,)), Twice()]).save(tmp_path / "a.keras")
    keras.saving.get_custom_objects().pop("tests.export>Twice")
    (tmp_path / "layers.py").write_text("")
    try:
        with pytest.raises(ExportError, match=r"expected a module that registers all of its layers$"):
            export(tmp_path / "a.keras", tmp_path / "b.keras", model=str(tmp_path / "layers.py"))
    finally:
        keras.saving.get_custom_objects()["tests.export>Twice"] = Twice


def test_inputs_of_unknown_shape_must_be_given(tmp_path):
    words = keras.Input((None,), name="words", dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 2)(words))
    keras.Model(words, keras.layers.Dense(2)(x)).save(tmp_path / "a.keras")
    with pytest.raises(ExportError, match=r"'words' is int32 of shape \(None, None\); expected --inputs FILE.npz"):
        export(tmp_path / "a.keras", tmp_path / "b.keras")
    np.savez(tmp_path / "given.npz", np.array([[0, 1, 4]]))
    assert export(tmp_path / "a.keras", tmp_path / "b.keras", inputs=tmp_path / "given.npz").any_batch
    np.savez(tmp_path / "given.npz", np.array([[9, 9, 9]]), np.ones(3))
    with pytest.raises(ExportError, match=r"the inputs are arr_0, arr_1; expected words"):
        export(tmp_path / "a.keras", tmp_path / "c.keras", inputs=tmp_path / "given.npz")


def test_a_checkpoint_of_torch_is_no_file_of_keras(run_dir, tmp_path):
    with pytest.raises(ExportError, match=r"b.keras: is a file of Keras, and .* one of torch; expected another"):
        export(run_dir / "best.ckpt", tmp_path / "b.keras")
