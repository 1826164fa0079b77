"""Runs of `model.fit` that are resumed."""

import gc
from pathlib import Path

import keras
import pytest

from ckpt_callbacks import Every, KeepLast, Policy, Status
from ckpt_callbacks.errors import ResumeError, VerifyError
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.task import (
    BACKEND,
    EACH_EPOCH_AND_STEP,
    ONCE,
    Epochs,
    checkpoint,
    digits,
    epochs_of,
    fit,
    model,
    quick,
    same,
    updates,
)  # fmt: skip
from tests.support.variants import only_quick

HERE = Path(__file__).parent
LAST_TWO = Policy(Every(epochs=1), KeepLast(2))


class Interrupt(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Subclassed(keras.Model):
    """A model without variables until it sees data."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.first, self.drop, self.last = keras.layers.Dense(8), keras.layers.Dropout(0.2), keras.layers.Dense(10)

    def call(self, x, training=False):
        return keras.ops.softmax(self.last(self.drop(self.first(x), training=training)))


def subclassed():
    """Return such a model in graph mode, where TensorFlow creates the variables late."""
    keras.utils.set_random_seed(7)
    made = Subclassed()
    made.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        (x, y), _ = digits()
        return x[index * 16 : index * 16 + 16], y[index * 16 : index * 16 + 16]


def accumulating():
    return model(keras.optimizers.Adam(0.01, gradient_accumulation_steps=3), run_eagerly=BACKEND != "jax")


def averaging():
    return model(keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3), run_eagerly=True)


def several_batches_at_once():
    return model(steps_per_execution=3)


MAKERS = {
    "tensorflow": [model, accumulating, averaging, subclassed, several_batches_at_once],
    "torch": [model, accumulating, averaging, subclassed],
    "jax": [model, accumulating, several_batches_at_once],
}[BACKEND]


@pytest.mark.parametrize("make", only_quick(MAKERS, model, accumulating), ids=lambda make: make.__name__)
def test_a_run_resumed_anywhere_ends_like_the_uninterrupted_one(tmp_path, make):
    whole, first = make(), checkpoint(tmp_path / "whole", EACH_EPOCH_AND_STEP)
    history = fit(whole, first)
    records = [record for record in first.records() if record.resumable]
    for record in records[:1] + records[3:4] if make is model else records[3:4]:
        resumed = make()
        again = fit(resumed, checkpoint(tmp_path / f"from-{record.id}", EACH_EPOCH_AND_STEP, resume=record.path))
        assert same(whole, resumed), record
        assert (again.epoch, again.history) == (history.epoch, history.history), record
        assert updates(resumed) == updates(whole)


@pytest.mark.slow
def test_a_dataset_is_shuffled_in_the_same_order_again(tmp_path):
    def train(name, **settings):
        trained, callback = quick(), checkpoint(tmp_path / name, EACH_EPOCH_AND_STEP, **settings)
        trained.fit(Batches(), shuffle=True, epochs=3, verbose=0, callbacks=[callback], validation_data=digits()[1])
        return trained, callback

    whole, first = train("whole")
    assert same(whole, train("resumed", resume=first.records()[3].path)[0])


@pytest.mark.slow
@ONCE
def test_a_model_without_variables_is_built_first(tmp_path):
    fit(model(built=False), checkpoint(tmp_path))
    again = model(built=False)
    assert not again.layers[0].built
    assert epochs_of(again, checkpoint(tmp_path), epochs=4) == [3]
    assert updates(again) == 16


@pytest.mark.parametrize("format", only_quick(["keras", "h5"], "keras"))
def test_auto_resumes_a_fresh_model_and_never_does_not(tmp_path, format):
    first = quick()
    fit(first, checkpoint(tmp_path, format=format), epochs=2)
    resumed, callback = quick(), checkpoint(tmp_path, format=format)
    assert epochs_of(resumed, callback, epochs=3) == [2]
    assert [(r.step, r.attempt, r.parent) for r in callback.records()] == [(4, 1, None), (8, 1, None), (12, 2, 2)]
    fresh, callback = quick(), checkpoint(tmp_path, resume="never")
    assert epochs_of(fresh, callback, epochs=1) == [0]
    assert [(r.step, r.parent) for r in callback.records()] == [(4, None)], "another run"


def test_a_path_resumes_from_there_and_supersedes_what_came_after(tmp_path):
    callback = checkpoint(tmp_path)
    fit(quick(), callback)
    again = checkpoint(tmp_path, resume=callback.records()[0].path)
    assert epochs_of(quick(), again) == [1, 2]
    assert [(r.step, r.parent, r.superseded) for r in again.records()] == [
        (4, None, False), (8, None, True), (12, None, True), (8, 1, False), (12, 1, False)
    ]  # fmt: skip


@ONCE
def test_a_path_that_cannot_be_resumed_from_is_one_clear_line(tmp_path):
    trained = quick()
    weights, full = checkpoint(tmp_path / "weights", contents="weights"), checkpoint(tmp_path / "full")
    fit(trained, weights, full, epochs=1)
    trained.save(tmp_path / "plain.keras")
    (tmp_path / "junk.keras").write_text("junk")
    cases = {
        tmp_path / "missing.keras": "is not a file; expected resume='auto', 'never' or the path of a checkpoint",
        weights.last().path: "holds only weights, so a run cannot be resumed from it",
        tmp_path / "plain.keras": "holds no state of a run",
        tmp_path / "junk.keras": "is not a readable Keras file",
    }
    for path, text in cases.items():
        with pytest.raises(ResumeError, match=text) as caught:
            fit(quick(), checkpoint(tmp_path / "full", resume=path))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    full.last().path.write_bytes(full.last().path.read_bytes()[:-1])
    with pytest.raises(VerifyError, match="the manifest says"):
        fit(quick(), checkpoint(tmp_path / "full", resume=full.last().path))


def test_a_finished_script_run_again_trains_nothing_and_says_so(tmp_path, caplog):
    trained, callback = quick(), checkpoint(tmp_path, LAST_TWO)
    trained.optimizer.learning_rate = 0.3
    stopper = dict(patience=1, min_delta=9, restore_best_weights=True)
    whole = fit(trained, callback, keras.callbacks.EarlyStopping(**stopper), epochs=5)
    epochs = len(whole.epoch)
    assert epochs < 5
    before = [(record.file, record.digest) for record in callback.records()]
    again, callback = quick(), checkpoint(tmp_path, LAST_TWO)
    watch = Epochs()
    history = fit(again, watch, callback, keras.callbacks.EarlyStopping(**stopper), epochs=5)
    assert watch.seen == [] and (history.epoch, history.history) == (whole.epoch, whole.history)
    assert f"nothing left to train; the run ended at step {epochs * 4}" in caplog.text
    assert [(record.file, record.digest) for record in callback.records()] == before
    assert same(trained, again), "the model is what it was when the first one ended"


def test_a_run_that_was_killed_between_its_last_epoch_and_its_end_ends_as_it_would_have(tmp_path):
    stopper = dict(patience=1, min_delta=9, restore_best_weights=True)
    trained, callback = quick(), checkpoint(tmp_path, LAST_TWO)
    fit(trained, callback, keras.callbacks.EarlyStopping(**stopper), epochs=5)
    final = callback.final()
    assert not final.resumable, "the weights of the best epoch, which are not those of the last one"
    final.path.unlink()
    Manifest.read(tmp_path).change(final.id, status=Status.FAILED, error="cut off", final=False)
    again, callback = quick(), checkpoint(tmp_path, LAST_TWO)
    fit(again, callback, keras.callbacks.EarlyStopping(**stopper), epochs=5)
    assert same(trained, again) and not callback.final().resumable


def test_a_second_fit_continues_training(tmp_path):
    trained, callback = quick(), checkpoint(tmp_path)
    fit(trained, callback, epochs=1)
    fit(trained, callback, epochs=1)
    other = checkpoint(tmp_path)
    assert fit(trained, other, epochs=1).epoch == [0]
    assert fit(trained, other, epochs=4, initial_epoch=3).epoch == [3]
    facts = [(r.step, r.epoch, r.attempt, r.parent, r.final) for r in other.records()]
    assert facts == [(4, 1, 1, None, True), (8, 2, 2, 1, True), (12, 3, 3, 2, True), (16, 4, 4, 3, True)]
    assert len({record.run for record in other.records()}) == 1


@pytest.mark.slow
def test_fit_continues_after_an_exception(tmp_path):
    trained, callback = quick(), checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(trained, Interrupt(6), callback)
    fit(trained, callback, epochs=1)
    assert [(r.step, r.epoch, r.attempt) for r in callback.records()] == [(4, 1, 1), (10, 2, 2)]
    with pytest.raises(KeyboardInterrupt) as kept:  # as notebooks keep the last traceback, and all it refers to
        fit(trained, Interrupt(2), callback)
    other = checkpoint(tmp_path)
    fit(trained, other, epochs=1)
    assert [(r.step, r.epoch, r.attempt) for r in other.records()][2:] == [(16, 3, 4)]
    del kept, callback
    gc.collect()
    fit(trained, other, epochs=1)


@ONCE
def test_a_damaged_checkpoint_is_skipped(tmp_path, caplog):
    callback = checkpoint(tmp_path)
    fit(quick(), callback)
    damaged = callback.last().path
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert callback.resume_path() == str(callback.records()[1].path)
    caplog.clear()
    assert epochs_of(quick(), checkpoint(tmp_path)) == [2]
    assert f"skipping this checkpoint and trying an older one: {damaged}: its bytes changed" in caplog.text


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("mirrored", [True, False])
def test_checkpoints_that_are_all_damaged_here_come_from_a_mirror_or_are_named(tmp_path, caplog, mirrored):
    mirrors = tmp_path / "mirror" if mirrored else None
    callback = checkpoint(tmp_path / "run", mirrors=mirrors)
    fit(quick(), callback, epochs=2)
    old = callback.records()
    for record in old:
        record.path.write_bytes(record.path.read_bytes()[:-1])
    again = checkpoint(tmp_path / "run", mirrors=mirrors)
    assert epochs_of(quick(), again) == ([2] if mirrored else [0, 1, 2])
    line = "no checkpoint that a run can be resumed from is intact, so training starts from scratch; damaged, and left"
    assert (f"restored from {mirrors} (step {old[-1].step})" in caplog.text, line in caplog.text) == (
        mirrored, not mirrored
    )  # fmt: skip
    assert not any(record.superseded for record in again._run.view.manifest.live()), "what is damaged is listed so"


def test_random_layers_continue_where_they_were(tmp_path):
    from ckpt_callbacks.keras.state import seed_variables

    def seeds(trained):
        return [keras.ops.convert_to_numpy(v).tolist() for v in seed_variables(trained)]

    trained = quick()
    fit(trained, checkpoint(tmp_path), epochs=1)
    again = model(seed=8)
    assert seeds(again) != seeds(trained)
    fit(again, checkpoint(tmp_path), epochs=1)
    assert seeds(again) == seeds(trained) and len(seeds(trained)) == 1
