"""Scripts that load a checkpoint into their model themselves, and continue training in the same directory."""

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import EACH_EPOCH, ONCE, checkpoint, epochs_of, fit, new_process, quick, weights

pytestmark = ONCE
SLOW = pytest.mark.slow
RATE = 1e-4


class Killed(BaseException):
    """Stands for the end of the process."""


def kill(callback):
    raise Killed


def by_load_model(path):
    new_process()
    keras.utils.set_random_seed(7)
    return keras.saving.load_model(path)


def by_load_weights(path):
    made = quick(seed=99)
    made.load_weights(path)
    return made


def by_set_weights(path):
    made = quick(seed=99)
    made.set_weights(keras.saving.load_model(path).get_weights())
    return made


def with_lower_rate(made):
    made.compile(keras.optimizers.Adam(RATE), made.loss, metrics=["accuracy"], run_eagerly=True)
    return made


@pytest.fixture
def trained(tmp_path):
    """A run of three epochs, whose records are at steps 4, 8 and 12."""
    callback = checkpoint(tmp_path)
    fit(quick(), callback)
    return callback.records()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "place"),
    [
        pytest.param(by_load_model, 1, id="load_model"),
        pytest.param(by_load_weights, 0, id="load_weights", marks=SLOW),
        pytest.param(by_set_weights, 1, id="set_weights", marks=SLOW),
        pytest.param(by_load_model, 2, id="the newest"),
    ],
)
def test_training_continues_from_loaded_weights_with_the_models_optimizer(tmp_path, caplog, trained, load, place):
    record, seen = trained[place], []
    made, callback = with_lower_rate(load(record.path)), checkpoint(tmp_path)
    before = weights(made)
    look = At("on_epoch_begin", 1, lambda c: seen.append((weights(c.model), float(c.model.optimizer.learning_rate))))
    assert epochs_of(made, look, callback, epochs=2) == [0, 1]
    assert (seen[0][0] == before).all() and seen[0][1] == pytest.approx(RATE)
    assert f"the model has the weights of {record.file}" in caplog.text
    assert caplog.text.count(f"pass resume={str(trained[-1].path)!r}") == caplog.text.count("pass resume=")
    assert ("pass resume=" in caplog.text) == (record != trained[-1])
    new = [r for r in callback.records() if r.attempt == 2]
    assert [r.parent for r in new] == [record.id] * 2 and [r.step for r in new] == [record.step + 4, record.step + 8]
    assert all(r.superseded for r in callback.records() if record.id < r.id < new[0].id)


@pytest.mark.slow
def test_a_file_that_cannot_be_read_does_not_hide_the_loaded_one(tmp_path, caplog, trained):
    made = with_lower_rate(by_load_model(trained[1].path))
    trained[2].path.write_bytes(b"damaged")
    fit(made, callback := checkpoint(tmp_path), epochs=1)
    assert f"the model has the weights of {trained[1].file}" in caplog.text and callback.last().parent == trained[1].id


def fine_tune(path, dirpath, *others):
    made = with_lower_rate(by_load_model(path))
    return made, epochs_of(made, *others, checkpoint(dirpath, Policy(Every(steps=3), KeepAll())), epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("again", [pytest.param(1, id="same"), pytest.param(3, id="a newer one", marks=SLOW)])
def test_a_fine_tuning_that_was_killed_and_started_again_ends_as_if_it_had_not_been(tmp_path, trained, again):
    whole, _ = fine_tune(trained[1].path, tmp_path / "elsewhere")
    with pytest.raises(Killed):
        fine_tune(trained[1].path, tmp_path, At("on_train_batch_begin", 8, kill))
    path = checkpoint(tmp_path).records()[again].path
    resumed, seen = fine_tune(path, tmp_path)
    assert fingerprint(resumed) == fingerprint(whole) and seen == [1]


@pytest.mark.slow
def test_training_continues_from_best_weights_loaded_between_two_calls(tmp_path, caplog):
    new_process()
    callback = checkpoint(tmp_path)
    fit(quick(), callback)
    record = callback.records()[1]
    made = with_lower_rate(keras.saving.load_model(record.path))
    assert epochs_of(made, callback, epochs=1) == [0]
    assert "another model" not in caplog.text and callback.last().parent == record.id
    assert callback.last().step == record.step + 4


@pytest.mark.slow
def test_a_fresh_model_does_not_count_as_loaded_if_early_updates_changed_nothing(tmp_path):
    def train(*others):
        made = quick()
        rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0 if epoch == 0 else 0.01)
        return epochs_of(made, rates, *others, checkpoint(tmp_path, EACH_EPOCH))

    with pytest.raises(Killed):
        train(At("on_epoch_begin", 3, kill))
    assert train() == [2]
