"""Custom training loops that call the callbacks themselves, and callbacks that write their own files."""

import keras
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from ckpt_callbacks.errors import PolicyError
from tests.adapters.keras.stops import POLICY, At, terminate
from tests.adapters.keras.task import EACH_EPOCH, ONCE, checkpoint, digits, fit, quick, same, updates

SLOW = pytest.mark.slow
CUTS = [("on_train_batch_end", 6), ("on_train_batch_end", 8), ("on_test_batch_begin", 2), ("on_train_batch_begin", 11)]


def listed(trained, ours, epochs):
    """Return what a loop calls: Keras' list, as in its guide."""
    return keras.callbacks.CallbackList([ours], model=trained, epochs=epochs)


def alone(trained, ours, epochs):
    """Return the callback itself."""
    ours.set_model(trained)
    ours.set_params({"epochs": epochs})
    return ours


def beside_others(trained, ours, epochs):
    others = [keras.callbacks.EarlyStopping("loss", patience=9), keras.callbacks.ReduceLROnPlateau("loss", patience=9)]
    return keras.callbacks.CallbackList([*others, ours], add_history=True, model=trained, epochs=epochs)


def loop(trained, ours, epochs, called=listed, crash=(None, 0)):
    """Train in a loop like the one in Keras' guide, which may fail after a batch."""
    (x, y), _ = digits()
    callbacks = called(trained, ours, epochs)
    callbacks.on_train_begin()
    for epoch in range(ours.epochs_done, epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(4):
            callbacks.on_train_batch_begin(batch)
            rows = slice(16 * batch, 16 * batch + 16)
            logs = trained.train_on_batch(x[rows], y[rows], return_dict=True)
            callbacks.on_train_batch_end(batch, logs)
            if (epoch, batch) == crash:
                ours.wait()
                raise ZeroDivisionError
        callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end()


@ONCE
@pytest.mark.parametrize("called", [listed, alone, beside_others])
def test_a_custom_loop_learns_where_to_begin(tmp_path, called, caplog):
    whole, cut, again = quick(), quick(), quick()
    loop(whole, checkpoint(tmp_path / "whole"), 3, called)
    with pytest.raises(ZeroDivisionError):
        loop(cut, failed := checkpoint(tmp_path / "cut"), 3, called, crash=(2, 1))
    del failed
    loop(again, ours := checkpoint(tmp_path / "cut"), 3, called)
    assert (updates(again), ours.epochs_done) == (12, 3) and same(again, whole)
    assert "begin the loop with epoch 2 (epochs_done)" in caplog.text


@ONCE
def test_model_checkpoint_keeps_its_best_over_a_resume(tmp_path):
    def theirs():
        return keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, monitor="loss", mode="min")

    fit(quick(), first := theirs(), checkpoint(tmp_path / "run", EACH_EPOCH), epochs=2)
    fit(quick(), second := theirs(), checkpoint(tmp_path / "run", EACH_EPOCH), epochs=2)
    assert second.best == first.best is not None


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("cut_at", [("on_train_batch_end", 7), *(pytest.param(at, marks=SLOW) for at in CUTS)])
def test_model_checkpoint_continues_to_count_batches(tmp_path, cut_at):
    class Theirs(keras.callbacks.ModelCheckpoint):
        """Notes what it saves after which update."""

        def __init__(self):
            super().__init__(tmp_path / "theirs.weights.h5", save_weights_only=True, save_freq=3)
            self.saved = []

        def _save_model(self, epoch, batch, logs):
            self.saved.append((epoch, batch, updates(self.model)))

    fit(quick(), whole := Theirs(), checkpoint(tmp_path / "whole", POLICY))
    with pytest.raises(SystemExit):
        fit(quick(), first := Theirs(), At(*cut_at, terminate), checkpoint(tmp_path / "run", POLICY))
    fit(quick(), second := Theirs(), checkpoint(tmp_path / "run", POLICY))
    assert first.saved + second.saved == whole.saved == [(0, 2, 3), (1, 1, 6), (2, 0, 9), (2, 3, 12)]


def logged(dirpath):
    """Return what TensorBoard has logged of batches, as pairs of a step and a loss."""
    events = (event for path in sorted(dirpath.rglob("*.v2")) for event in EventFileLoader(str(path)).Load())
    values = ((event.step, value) for event in events for value in event.summary.value)
    return [(step, float(make_ndarray(value.tensor))) for step, value in values if value.tag == "batch_loss"]


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize("cut_at", [("on_train_batch_end", 6), *(pytest.param(at, marks=SLOW) for at in CUTS[1:])])
def test_tensorboard_logs_each_batch_with_its_number_and_values(tmp_path, cut_at):
    class Board(keras.callbacks.TensorBoard):
        """Notes the number of each batch, including those that a resume skips."""

        def __init__(self, name):
            super().__init__(tmp_path / name, update_freq=1, write_graph=False)
            self.steps = []

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.steps.append((batch, self._global_train_batch))

    fit(quick(), Board("whole"), checkpoint(tmp_path / "run of whole", POLICY))
    with pytest.raises(SystemExit):
        fit(quick(), Board("cut"), At(*cut_at, terminate), checkpoint(tmp_path / "run", POLICY))
    fit(quick(), board := Board("cut"), checkpoint(tmp_path / "run", POLICY))
    assert board.steps == [(number % 4, number + 1) for number in range(12 - len(board.steps), 12)]
    assert set(logged(tmp_path / "cut")) == set(logged(tmp_path / "whole")), "with the same values"


@pytest.mark.slow
@ONCE
def test_a_loop_trains_a_new_model_with_a_policy_that_saves_after_exceptions(tmp_path):
    """Keras makes the train function at the first batch, if the model has none."""
    trained, plain = quick(), quick()
    loop(trained, checkpoint(tmp_path / "a", POLICY), 2)
    loop(plain, checkpoint(tmp_path / "b"), 2)
    assert updates(trained) == 8 and same(trained, plain)


OLD = type("Model", (), {"__module__": "tf_keras.src.engine.training"})


@ONCE
@pytest.mark.parametrize("kind", [
    type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"}),
    type("Functional", (OLD,), {"__module__": "tf_keras.src.engine.functional"}),
    type("Classifier", (OLD,), {"__module__": "train"}),  # of the script
])  # fmt: skip
def test_a_model_of_keras_2_is_refused_in_one_line(tmp_path, kind):
    said = rf"got a {kind.__name__} of Keras 2 \(tf_keras\); expected a model of Keras 3"
    with pytest.raises(PolicyError, match=said):
        checkpoint(tmp_path).set_model(kind())
    assert not list(tmp_path.iterdir())
