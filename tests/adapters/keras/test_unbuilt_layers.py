"""Resumes of models with layers that have no variables before the first validation."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.keras.task import ONCE, checkpoint, digits, new_process, same


class Counter(keras.layers.Layer):
    """Counts its calls in a variable that it creates late."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", name="count")

    def call(self, x):
        self.count.assign(self.count + 1)
        return x


def frozen():
    return keras.layers.Dense(10, trainable=False)


class InEvaluation(keras.Model):
    """A model that calls a layer only with ``training=False``. The layer comes first among its weights."""

    def __init__(self, late):
        super().__init__(name="late")
        self.late, self.last = late(), keras.layers.Dense(10, "softmax")

    def build(self, shape):
        """Leave the layers to their first calls."""

    def call(self, x, training=False):
        return self.last(x) if training else self.last(x) + 0 * keras.ops.sum(self.late(x))


class InValidation(InEvaluation):
    """A model whose `test_step` calls the layer."""

    def call(self, x, training=False):
        return self.last(x)

    def test_step(self, data):
        self.late(data[0])
        return super().test_step(data)


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("kind", "late"),
    [
        pytest.param(InEvaluation, frozen, marks=pytest.mark.slow),
        (InValidation, Counter),
        pytest.param(InEvaluation, Counter, marks=pytest.mark.slow),
        pytest.param(InValidation, frozen, marks=pytest.mark.slow),
        pytest.param(InValidation, lambda: keras.Sequential([frozen(), Counter()]), marks=pytest.mark.slow),
    ],
)
def test_a_resume_from_before_and_after_the_first_validation_is_exact(tmp_path, kind, late):
    (x, y), val = digits()

    def train(name, **settings):
        new_process()
        keras.utils.set_random_seed(7)
        made, callback = kind(late), checkpoint(tmp_path / name, Policy(Every(steps=2), KeepAll()), **settings)
        made.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
        made.fit(x, y, batch_size=16, epochs=2, validation_data=val, verbose=0, callbacks=[callback])
        return made, callback.records()

    whole, records = train("whole")
    assert [record.step for record in records] == [2, 4, 6, 8]
    for record in (records[0], records[2]):
        assert same(whole, train(f"from-{record.id}", resume=record.path)[0]), record


@ONCE
def test_a_layer_that_the_model_gained_is_still_refused(tmp_path):
    (x, y), val = digits()

    def train(late):
        new_process()
        made = InEvaluation(late)
        made.compile("sgd", "sparse_categorical_crossentropy")
        callback = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll()))
        made.fit(x, y, batch_size=16, epochs=2, validation_data=val, verbose=0, callbacks=[callback])

    train(lambda: keras.layers.Dropout(0.1))
    with pytest.raises(ResumeError, match=r"the model's layer 'dense.*' 64x10 \+ 10 is not in the file"):
        train(frozen)


@pytest.mark.slow
@ONCE
def test_keras_refuses_to_resume_with_a_trainable_layer_that_only_validations_call(tmp_path):
    """A row of docs/exact-resume.md: Keras traces its training step anew, and then finds one more variable to train."""
    (x, y), val = digits()

    def train(dense):
        new_process()
        made = InEvaluation(dense)
        made.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
        callback = checkpoint(tmp_path / "run", Policy(Every(epochs=1), KeepAll()), resume="auto")
        made.fit(x, y, batch_size=16, epochs=2, validation_data=val, verbose=0,
                 callbacks=[callback, keras.callbacks.LambdaCallback(on_train_batch_begin=crash)])  # fmt: skip

    batches = iter([False] * 5 + [True] + [False] * 2)

    def crash(batch, logs):
        if next(batches):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(lambda: keras.layers.Dense(10))
    with pytest.raises(ValueError, match="Unknown variable"):
        train(lambda: keras.layers.Dense(10))
