"""Reads of many TensorFlow variables in one call, against Keras' own reads."""

import keras
import numpy as np
import pytest

from tests.adapters.keras.task import BACKEND

if BACKEND != "tensorflow":
    pytest.skip("only TensorFlow has such reads", allow_module_level=True)

from ckpt_callbacks.keras.model.tensorflow_reads import read_together


def values_of(*dtypes):
    made = [keras.Variable(np.arange(6).reshape(2, 3), dtype=dtype) for dtype in dtypes]
    return [made[0], np.ones(3), *made[1:], keras.Variable(7, dtype="int64")]


def test_the_values_are_those_that_keras_reads_and_later_steps_do_not_change_them():
    values = values_of("float32", "bfloat16", "float64", "bool", "uint8", "complex64", "float16")
    found = read_together(values)
    assert found[1] is None, "no variable"
    assert found[2] is None, "a bfloat16 cannot be shared"
    variables = [(value, array) for value, array in zip(values, found, strict=True) if array is not None]
    assert len(variables) == len(values) - 2
    expected = [keras.ops.convert_to_numpy(value) for value, _ in variables]
    for value, _ in variables:
        value.assign(keras.ops.zeros_like(value))
    for array, right in zip((array for _, array in variables), expected, strict=True):
        assert array.dtype == right.dtype and array.shape == right.shape and np.array_equal(array, right)


def test_what_cannot_be_read_together_is_left_to_be_read_one_by_one():
    one = keras.Variable(1.0)
    with keras.StatelessScope():
        unset = keras.Variable(keras.initializers.Ones(), shape=(2,))
        assert read_together([one, unset]) == [None, None]
    assert read_together([]) == []
