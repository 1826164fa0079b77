"""Data that die of a signal before the run has answered it, such as those of a program in the process group."""

import os
import signal
import time

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, OnException, OnPreempt, Policy
from ckpt_callbacks.keras.replaced_function import ReplacedFunction
from ckpt_callbacks.store.manifest import Manifest
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import BACKEND, checkpoint, digits, quick
from tests.adapters.keras.test_swapped_weights import Halves

SAVES = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
SLOW = pytest.mark.slow
SLOW_HERE = [SLOW] if BACKEND == "tensorflow" else []  # the slow tests run the quick ones on the other backends
LATE = 0.1  # seconds after which TensorFlow, which draws ahead on another thread, waits for the batch
SAID = "this is taken for a consequence of the signal"


class Data(keras.utils.PyDataset):
    """Four batches. In the method ``dies_in``, once it is armed, it sends a signal and raises.

    Args:
        number: The signal; None to raise only.
        at: The batch, if the method draws one.
    """

    def __init__(self, dies_in=None, number=signal.SIGTERM, at=2):
        super().__init__()
        self.dies_in, self.number, self.at, self.armed = dies_in, number, at, False

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == self.at:
            self._die("__getitem__", LATE if BACKEND == "tensorflow" else 0)
        (x, y), _ = digits()
        return x[index * 16 : index * 16 + 16], y[index * 16 : index * 16 + 16]

    def on_epoch_begin(self):
        self._die("on_epoch_begin")

    def on_epoch_end(self):
        self._die("on_epoch_end")

    def _die(self, method, after=0):
        if self.armed and method == self.dies_in:
            time.sleep(after)
            if self.number is not None:
                os.kill(os.getpid(), self.number)
            raise RuntimeError("the program has gone")

    def arm(self, callback):
        self.armed = True


def train(dirpath, *callbacks, data=None, validation_data=None, policy=SAVES, others=()):
    trained = quick()
    ours = [checkpoint(dirpath, policy), *(checkpoint(f"{dirpath}-{name}", policy) for name in others)]
    trained.fit(
        data or Data(), validation_data=validation_data or Data(), epochs=3, verbose=0, shuffle=False,
        callbacks=[*callbacks, *ours],
    )  # fmt: skip
    return fingerprint(trained)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def last(dirpath):
    return Manifest.read(dirpath).live()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "dies_in, at",
    [
        pytest.param("__getitem__", 2, marks=SLOW_HERE),
        pytest.param("__getitem__", 0, marks=SLOW),
        pytest.param("on_epoch_begin", 0, marks=SLOW),
        ("on_epoch_end", 0),
    ],
)
def test_a_signal_that_ends_the_data_of_a_validation_saves(tmp_path, caplog, whole, dies_in, at):
    data = Data(dies_in, at=at)
    arms = At("on_test_batch_begin" if dies_in == "on_epoch_end" else "on_test_begin", 2, data.arm)
    if dies_in == "on_epoch_end":
        arms.left = 5  # the first batch of the second validation
    with pytest.raises(SystemExit) as end:
        train(tmp_path / "cut", arms, validation_data=data)
    assert end.value.code == 128 + signal.SIGTERM
    found = last(tmp_path / "cut")
    assert (found.step, found.epoch) == (8, 1) and "preemption" in found.reasons
    if dies_in != "__getitem__" or BACKEND != "tensorflow":  # there, the signal may come in time for a safe point
        assert caplog.text.count(SAID) == 1
    assert train(tmp_path / "cut") == whole


@pytest.mark.parametrize(
    "dies_in",
    [
        pytest.param("on_epoch_end", marks=SLOW_HERE),
        pytest.param("on_epoch_begin", marks=SLOW_HERE),
        pytest.param("__getitem__", marks=SLOW_HERE if BACKEND == "torch" else SLOW),
    ],
)
def test_a_signal_that_ends_the_data_of_training_saves_wherever_they_raise(tmp_path, caplog, whole, dies_in):
    data = Data(dies_in, at=0)  # of the next epoch
    hook = ("on_epoch_begin", 2) if dies_in == "__getitem__" else ("on_train_batch_begin", 4)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", At(*hook, data.arm), data=data, policy=Policy(OnPreempt(), KeepAll()))
    found = last(tmp_path / "cut")
    assert found.step == 4 and "preemption" in found.reasons
    if dies_in != "__getitem__":
        assert caplog.text.count(SAID) == 1
    assert train(tmp_path / "cut") == whole


@pytest.mark.slow
@pytest.mark.parametrize("dies_in", ["__getitem__", "on_epoch_end"])
def test_each_callback_of_the_fit_saves(tmp_path, whole, dies_in):
    data = Data(dies_in)
    with pytest.raises(SystemExit):
        train(tmp_path / "a", At("on_test_batch_begin", 5, data.arm), validation_data=data, others=["b", "c"])
    for name in ("a", "a-b", "a-c"):
        found = last(tmp_path / name)
        assert found.step == 8 and "preemption" in found.reasons
    assert train(tmp_path / "a", others=["b", "c"]) == whole


@pytest.mark.parametrize(
    "policy",
    [pytest.param(SAVES, marks=SLOW_HERE), pytest.param(Policy(OnException(), KeepAll()), marks=SLOW)],
    ids=["preempt", "exception"],
)
def test_without_a_signal_nothing_is_saved_and_the_model_has_its_own_functions(tmp_path, policy):
    data = Data("on_epoch_end", number=None)
    arms = At("on_test_batch_begin", 5, data.arm)
    with pytest.raises(RuntimeError, match="the program has gone"):
        train(tmp_path / "cut", arms, validation_data=data, policy=policy)
    records = Manifest.read(tmp_path / "cut").live()
    assert [record.step for record in records] == ([4] if policy is SAVES else [])
    assert not isinstance(arms.model.test_function, ReplacedFunction)


@pytest.mark.parametrize("halves", [pytest.param(Halves, marks=SLOW_HERE)])
def test_weights_that_are_there_for_a_validation_only_are_not_saved(tmp_path, caplog, halves):
    data = Data("on_epoch_end")
    with pytest.raises(SystemExit) as end:
        train(tmp_path, At("on_test_batch_begin", 5, data.arm), halves(), validation_data=data)
    assert end.value.code == 128 + signal.SIGTERM and last(tmp_path).step == 4
    assert caplog.text.count("the model holds other weights during the validation, so nothing was saved") == 1
