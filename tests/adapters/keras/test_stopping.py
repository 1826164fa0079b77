"""Every way to be stopped in the middle of something, each followed by a resume that must end exactly the same."""

import hashlib
import os
import signal

import keras
import numpy as np
import pytest

from ckpt_callbacks import Every, KeepAll, OnDeadline, OnException, OnPreempt, Policy
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock
from tests.adapters.keras.task import BACKEND, ONCE, checkpoint, digits, epochs_of, fit, quick, same

POLICY = Policy(Every(epochs=1) | OnPreempt() | OnException(), KeepAll())
TEN = {"batch_size": 6, "epochs": 2}  # 64 samples: ten whole batches and a short one


class At(keras.callbacks.Callback):
    """Does something when a hook is called for the n-th time."""

    def __init__(self, hook, nth, act):
        super().__init__()
        self.hook, self.left, self.act = hook, nth, act
        setattr(self, hook, self._count)

    def _count(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            self.act(self)


class Counter(keras.callbacks.Callback):
    """A callback of the user's own, whose state says which hooks it has been told of."""

    def __init__(self):
        super().__init__()
        self.told = {"begun": 0, "ended": 0, "array": np.zeros(2)}

    def on_train_batch_begin(self, batch, logs=None):
        self.told["begun"] += 1

    def on_train_batch_end(self, batch, logs=None):
        self.told["ended"] += 1

    def on_epoch_end(self, epoch, logs=None):
        self.told["array"] = self.told["array"] + epoch

    def state_dict(self):
        return dict(self.told)

    def load_state_dict(self, state):
        self.told = dict(state)

    @property
    def facts(self):
        return self.told["begun"], self.told["ended"], self.told["array"].tolist()


def terminate(callback):
    os.kill(os.getpid(), signal.SIGTERM)


def stop(callback):
    callback.model.stop_training = True


def fingerprint(trained):
    variables = [*trained.weights, *trained.optimizer.variables]
    return hashlib.sha256(b"".join(keras.ops.convert_to_numpy(v).tobytes() for v in variables)).hexdigest()


def train(dirpath, *callbacks, epochs=4, optimizer=None, policy=POLICY, resume="auto", **settings):
    """Everything that a whole run and a resumed one must have in common."""
    trained, counter = quick(), Counter()
    if optimizer is not None:
        trained.compile(optimizer, trained.loss, metrics=["accuracy"], run_eagerly=True)
    stopper = keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=0.5, cooldown=1)
    siblings = [stopper, counter] if optimizer is not None else [stopper, plateau, counter]
    ours = checkpoint(dirpath, policy, resume=resume)
    history = fit(trained, *callbacks, ours, *siblings, epochs=epochs, **settings)
    best = (stopper.best, stopper.best_epoch, stopper.wait, plateau.best, plateau.wait, plateau.cooldown_counter)
    return fingerprint(trained), history.epoch, history.history, best, counter.facts


@pytest.mark.parametrize(
    "hook, nth, step",
    [
        ("on_train_batch_begin", 1, 0),
        ("on_train_batch_begin", 7, 6),
        ("on_train_batch_end", 8, 8),  # the epoch's last batch
        ("on_test_batch_begin", 3, 8),
        ("on_test_end", 2, 8),
    ],
)
def test_a_signal_anywhere(tmp_path, hook, nth, step):
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "cut", At(hook, nth, terminate))
    last = Manifest.read(tmp_path / "cut").live()[-1]
    assert (ended.value.code, last.step, last.epoch, last.status.value) == (143, step, step // 5, "verified")
    assert last.reasons == ("preemption",) and last.metrics == {}
    assert train(tmp_path / "cut") == train(tmp_path / "whole")


@pytest.mark.parametrize("act", [terminate, stop])
@pytest.mark.parametrize("validates", [True, False])
def test_batch_3_of_10(tmp_path, act, validates):
    settings = TEN if validates else TEN | {"validation_data": None}
    try:
        train(tmp_path / "cut", At("on_train_batch_end", 3, act), **settings)
    except SystemExit as ended:
        assert ended.code == 143 and act is terminate
    assert [r.step for r in Manifest.read(tmp_path / "cut").live()] == [3]
    assert train(tmp_path / "cut", **settings) == train(tmp_path / "whole", **settings)


@ONCE
def test_a_schedule_and_a_signal_in_a_validation(tmp_path):
    def adam():
        return keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.03, 3, 0.8))

    with pytest.raises(SystemExit):
        train(tmp_path / "cut", At("on_test_batch_begin", 3, terminate), optimizer=adam())
    assert train(tmp_path / "cut", optimizer=adam()) == train(tmp_path / "whole", optimizer=adam())


@ONCE
def test_a_wish_to_save_does_not_wait_for_a_validation(tmp_path):
    ours = checkpoint(tmp_path, POLICY)
    seen = []

    def wish(callback):
        (tmp_path / "SAVE_NOW").touch()
        ours._run._control._polled_at = -1.0  # it looks at the disk twice a second

    watch = At("on_test_end", 2, lambda _: seen.extend((r.step, r.reasons) for r in ours.records()))
    fit(quick(), At("on_test_begin", 2, wish), watch, ours, validation_batch_size=4)
    assert seen[-1] == (8, ("on demand",)) and not (tmp_path / "SAVE_NOW").exists()
    assert [(r.step, "val_loss" in r.metrics) for r in ours.records()] == [(4, True), (8, True), (12, True)]


@ONCE
def test_a_weights_checkpoint_is_written_within_a_validation_too(tmp_path):
    trained, ours = quick(), checkpoint(tmp_path, POLICY, contents="weights")
    with pytest.raises(SystemExit):
        fit(trained, At("on_test_batch_begin", 2, terminate), ours)
    again = quick()
    again.load_weights(ours.last().path)
    assert same(trained, again) and (ours.last().step, ours.last().resumable) == (4, False)


@ONCE
def test_a_signal_between_two_updates_waits_for_none(tmp_path):
    def accumulating():
        trained = quick()
        trained.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), trained.loss, run_eagerly=True)
        return trained

    whole, cut, resumed = accumulating(), accumulating(), accumulating()
    fit(whole, checkpoint(tmp_path / "whole", POLICY))
    with pytest.raises(SystemExit):
        fit(cut, At("on_train_batch_begin", 3, terminate), checkpoint(tmp_path / "cut", POLICY))
    fit(resumed, checkpoint(tmp_path / "cut", POLICY))
    assert fingerprint(resumed) == fingerprint(whole)


@ONCE
def test_a_run_that_early_stopping_ended_is_not_trained_on(tmp_path, caplog):
    def impatient():
        return keras.callbacks.EarlyStopping(patience=1, min_delta=9)

    assert epochs_of(quick(), impatient(), checkpoint(tmp_path), epochs=6) == [0, 1]
    assert epochs_of(quick(), impatient(), checkpoint(tmp_path), epochs=6) == []
    assert "stopped before training: keras.EarlyStopping had ended it" in caplog.text
    assert epochs_of(quick(), checkpoint(tmp_path), epochs=3) == [2], "without it, the run goes on"
    assert "other callbacks" in caplog.text and "keras.EarlyStopping" in caplog.messages[-1]


@ONCE
def test_a_second_fit_restores_no_sibling(tmp_path):
    trained, ours, counter = quick(), checkpoint(tmp_path), Counter()
    fit(trained, ours, counter, epochs=1)
    assert fit(trained, ours, counter, epochs=1).epoch == [0]
    assert counter.facts[:2] == (8, 8)


@ONCE
def test_a_sibling_that_fails_costs_no_checkpoint(tmp_path, caplog):
    class Odd(Counter):
        def state_dict(self):
            return {"thread": object()}

    ours = checkpoint(tmp_path)
    fit(quick(), Odd(), ours)
    assert len(ours.records()) == 3
    line = "Odd.state_dict() failed, so its state is not saved: TypeError: object is neither a JSON value nor an array"
    assert caplog.text.count(line) == 1


class Batches(keras.utils.PyDataset):
    """Raises on the n-th batch that it is asked for."""

    def __init__(self, fails_at=0, **settings):
        super().__init__(**settings)
        self.asked, self.fails_at = 0, fails_at

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked += 1
        if self.asked == self.fails_at:
            raise RuntimeError("the disk has gone")
        (x, y), _ = digits()
        return x[index * 16 : index * 16 + 16], y[index * 16 : index * 16 + 16]


def train_on(data, dirpath, trained=None, **settings):
    trained, ours = trained or quick(), checkpoint(dirpath, POLICY)
    trained.fit(data, epochs=3, verbose=0, callbacks=[ours], shuffle=False, **settings)
    return trained


def test_an_exception_in_the_data(tmp_path):
    with pytest.raises(Exception, match="the disk has gone") as kept:  # with the traceback, as a notebook would
        train_on(Batches(fails_at=9), tmp_path / "cut")
    last = Manifest.read(tmp_path / "cut").live()[-1]
    assert (last.exceptional, last.reasons, last.step > 4, last.final) == (True, ("exception",), True, False)
    assert fingerprint(train_on(Batches(), tmp_path / "cut")) == fingerprint(train_on(Batches(), tmp_path / "whole"))
    del kept


def test_an_exception_in_a_step(tmp_path):
    class Fails(keras.losses.Loss):
        def call(self, y, prediction):
            if begun == 7:
                raise ZeroDivisionError
            return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, prediction))

    class Counts(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            nonlocal begun
            begun += 1

    begun, trained, ours = 0, quick(), checkpoint(tmp_path, POLICY)
    trained.compile(keras.optimizers.SGD(0.1), Fails(), run_eagerly=True)
    with pytest.raises(ZeroDivisionError):
        trained.fit(Batches(), epochs=3, verbose=0, callbacks=[ours, Counts()], shuffle=False)
    [*_, last] = ours.records()
    assert (last.step, last.epoch, last.exceptional) == (6, 1, True)
    again = quick()
    again.load_weights(last.path)
    assert same(trained, again)
    begun = 0
    train_on(Batches(), tmp_path, trained)  # the directory is free, and so is the train function


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_test_batch_begin", "on_epoch_end", "on_epoch_begin"])
def test_an_exception_elsewhere_leaves_the_directory_free(tmp_path, hook):
    def fail(callback):
        raise ZeroDivisionError

    trained = quick()
    with pytest.raises(ZeroDivisionError):
        fit(trained, At(hook, 2, fail), checkpoint(tmp_path, POLICY))
    assert epochs_of(trained, checkpoint(tmp_path, POLICY), epochs=1) == [0]
    whole = Policy(Every(epochs=1), KeepAll())
    assert epochs_of(quick(), checkpoint(tmp_path, whole, resume="never"), epochs=1) == [0]


def generator():
    data = Batches()
    while True:
        yield from (data[index] for index in range(4))


@pytest.mark.parametrize(
    "make, settings, said",
    [
        (Batches, {}, None),
        (lambda: Batches(workers=2), {}, "a PyDataset with several workers"),
        (generator, {"steps_per_epoch": 4}, "a generator cannot be rewound"),
        (Batches, {"steps_per_epoch": 3}, "steps_per_epoch makes epochs of a part of the data"),
    ],
)
def test_what_cannot_be_exact_is_said_once_when_it_is_saved(tmp_path, caplog, make, settings, said):
    train_on(make(), tmp_path, **settings)
    lines = [message for message in caplog.messages if "is not exact" in message]
    assert len(lines) == (said is not None) and all(said in line and "\n" not in line for line in lines)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="about TensorFlow's own shuffling")
def test_what_tensorflow_shuffles(tmp_path, caplog):
    import tensorflow as tf

    def lines(data):
        caplog.clear()
        trained = quick()
        name = str(len(list(tmp_path.iterdir())))
        trained.fit(*data, epochs=1, verbose=0, callbacks=[checkpoint(tmp_path / name, POLICY)])
        return [message for message in caplog.messages if "is not exact" in message]

    (x, y), _ = digits()
    plain = tf.data.Dataset.from_tensor_slices((x, y))
    assert lines([plain.batch(16)]) == []
    assert "shuffles" in lines([plain.shuffle(64, seed=1).batch(16)])[0]
    assert lines([plain.shuffle(64, seed=1, reshuffle_each_iteration=False).batch(16)]) == []
    assert lines([x, y]) == []


@ONCE
def test_a_deadline_is_met_without_waiting_for_a_validation(tmp_path):
    clock, seen = FakeClock(), []

    class Tick(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            clock.advance(250)  # the deadline comes near as the first validation begins

        def on_test_batch_end(self, batch, logs=None):
            callback.wait()
            seen.append([record.step for record in callback.records()])

    policy = Policy(Every(epochs=1) | OnDeadline(before=600, end=clock.wall() + 800), KeepAll())
    callback = checkpoint(tmp_path, policy, clock=clock)
    fit(quick(), Tick(), callback)
    assert seen[0] == [4], "saved before the first epoch's validation has ended"
    assert callback.records()[0].reasons[0] == "10 minutes before the deadline"
    assert [(record.step, record.epoch) for record in callback.records()] == [(4, 1), (8, 2), (12, 3)], "once"
