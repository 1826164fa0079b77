"""Calls of `fit` on several threads, in one run directory."""

import sys
import threading

import keras
import pytest

from ckpt_callbacks.errors import DirectoryInUse
from tests.adapters.keras.task import ONCE, checkpoint, epochs_of, fit, quick

pytestmark = ONCE


class Ends(keras.callbacks.Callback):
    """Ends the training in the second epoch: Keras has no hook for that."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise ZeroDivisionError


class Waits(keras.callbacks.Callback):
    """Stays in the second epoch until it may go on."""

    def __init__(self):
        super().__init__()
        self.is_there, self.go_on = threading.Event(), threading.Event()

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.is_there.set()
            assert self.go_on.wait(60)


class Threads:
    """A thread that calls functions, and stays alive in between."""

    def __init__(self):
        self.ended, self.errors = threading.Event(), []

    def begin(self, work):
        done = threading.Event()

        def run():
            try:
                work()
            except Exception as error:
                self.errors.append(error)  # with its traceback, and so the frame of `fit`
            done.set()
            self.ended.wait(60)

        threading.Thread(target=run, daemon=True).start()
        return done


@pytest.fixture
def threads():
    made = Threads()
    yield made
    made.ended.set()


def test_a_fit_that_ended_on_a_thread_which_is_still_alive_keeps_nothing(tmp_path, threads):
    kept = checkpoint(tmp_path)
    assert threads.begin(lambda: fit(quick(), kept, Ends())).wait(60)
    assert [type(error) for error in threads.errors] == [ZeroDivisionError]
    assert epochs_of(quick(), checkpoint(tmp_path)) == [1, 2]


def test_a_fit_that_still_runs_on_another_thread_keeps_its_directory(tmp_path, threads):
    waits, trained = Waits(), quick()
    done = threads.begin(lambda: fit(trained, checkpoint(tmp_path), waits))
    assert waits.is_there.wait(60)
    with pytest.raises(DirectoryInUse):
        fit(quick(restart=False), checkpoint(tmp_path))
    waits.go_on.set()
    assert done.wait(60) and not threads.errors


def test_frames_of_other_threads_are_not_read_without_need(tmp_path, monkeypatch):
    kept = checkpoint(tmp_path)
    with pytest.raises(ZeroDivisionError) as traceback:  # kept, as a notebook would
        fit(quick(), kept, Ends())
    monkeypatch.setattr(sys, "_current_frames", lambda: pytest.fail("CPython 3.11 may garble them"))
    assert epochs_of(quick(), checkpoint(tmp_path)) == [1, 2]
    del traceback
