"""Models that learn or receive a vocabulary, which may differ when the script is started again."""

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import BACKEND, checkpoint, new_process

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="layers for text need TensorFlow")

SLOW = pytest.mark.slow
STEPS = Policy(Every(epochs=1) | Every(steps=3), KeepAll())
WORDS = np.array(["red", "green", "blue", "black"] * 8)
LABELS = np.array([0, 1, 2, 3] * 8)
SAID = "differ from what the script's layers have learned; those of the checkpoint are used"


def adapted(layer, words):
    layer.adapt(words)
    return layer


def text(words):
    return adapted(keras.layers.TextVectorization(max_tokens=9, output_mode="multi_hot", pad_to_max_tokens=True), words)


def lookup(words):
    settings = {"max_tokens": 9, "output_mode": "multi_hot", "pad_to_max_tokens": True}
    return adapted(keras.layers.StringLookup(**settings), words)


def nested(words):
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup(words)])


def given(words):
    return keras.layers.StringLookup(vocabulary=list(dict.fromkeys(words)), output_mode="multi_hot")


def train(dirpath, layer, epochs=3, traced=False):
    """Train a model; with ``traced``, its functions have seen what the script gave the layer."""
    import tensorflow as tf

    new_process()
    keras.utils.set_random_seed(7)
    made = keras.Sequential([keras.Input((1,), dtype="string"), layer, keras.layers.Dense(4, "softmax")])
    settings = {"metrics": ["accuracy"], "run_eagerly": not traced}
    made.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", **settings)
    data = tf.data.Dataset.from_tensor_slices((WORDS[:, None], LABELS)).batch(8)
    if traced:
        made.evaluate(data, verbose=0)
    history = made.fit(
        data, epochs=epochs, verbose=0, callbacks=[checkpoint(dirpath, STEPS)], validation_data=data
    )  # fmt: skip
    return made.get_weights()[-1].tolist(), history.history


OTHER = np.array(["black", "black", "black", "blue", "blue", "red"])  # learned in another order, and lacks a word


@pytest.mark.slow
@pytest.mark.parametrize("make", [lookup, pytest.param(text, marks=SLOW), pytest.param(nested, marks=SLOW)])
@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=SLOW)])
def test_what_layers_have_learned_is_that_of_the_checkpoint(tmp_path, caplog, make, traced):
    train(tmp_path / "cut", make(WORDS), epochs=2, traced=traced)
    assert SAID not in caplog.text
    resumed = train(tmp_path / "cut", make(OTHER), traced=traced)
    assert resumed == train(tmp_path / "whole", make(WORDS), traced=traced)
    assert caplog.text.count(SAID) == 1 and "vocabulary.txt" in caplog.text
    if traced:
        train(tmp_path / "cut", make(WORDS), epochs=4)
    assert caplog.text.count(SAID) == 1, "they are the same"


@pytest.mark.slow
def test_a_layer_that_has_learned_nothing_gets_what_the_checkpoint_holds(tmp_path):
    train(tmp_path / "cut", lookup(WORDS), epochs=2)
    empty = keras.layers.StringLookup(max_tokens=9, output_mode="multi_hot", pad_to_max_tokens=True)
    assert train(tmp_path / "cut", empty) == train(tmp_path / "whole", lookup(WORDS))


@pytest.mark.parametrize("words", [WORDS[::-1], pytest.param(np.append(WORDS, "white"), marks=SLOW)])
def test_another_vocabulary_in_the_configuration_is_refused(tmp_path, words):
    train(tmp_path, given(WORDS), epochs=1)
    with pytest.raises(ResumeError, match=r"the vocabulary of layer 'string_lookup\w*' differs"):
        train(tmp_path, given(words), epochs=2)
    train(tmp_path, given(WORDS), epochs=2)
