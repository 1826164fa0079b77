"""Scripts that call `fit` more than once: for folds, for phases, in a loop; killed and started again."""

import shutil

import keras
import pytest

from ckpt_callbacks import Every, KeepAll, KeepLast, Patience, Policy
from tests.adapters.keras.stops import At, fingerprint
from tests.adapters.keras.task import (
    EACH_EPOCH,
    EACH_EPOCH_AND_STEP,
    ONCE,
    VAL,
    checkpoint,
    epochs_of,
    fit,
    new_process,
    quick,
    same,
    updates,
)

OWN_DIRECTORY = "give each model (fold, trial) its own directory"

LAST = Policy(EACH_EPOCH_AND_STEP.save, KeepLast(1))


class Killed(BaseException):
    """Stands for the end of the process."""


def kill(callback):
    raise Killed


def another(seed):
    """Return one more model of the same script."""
    return quick(seed=seed, restart=False)


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("reused", "resume"),
    [
        pytest.param(True, "auto", id="one callback"),
        pytest.param(False, "auto", id="a callback each", marks=pytest.mark.slow),
        pytest.param(True, "never", id="never", marks=pytest.mark.slow),
        pytest.param(False, "never", id="never, a callback each", marks=pytest.mark.slow),
    ],
)
def test_each_fold_is_trained_from_scratch_as_a_run_of_its_own(tmp_path, caplog, reused, resume):
    new_process()
    callback, trained = checkpoint(tmp_path, resume=resume), []
    for seed in (1, 2):
        fold = another(seed)
        callback = callback if reused else checkpoint(tmp_path, resume=resume)
        caplog.clear()
        assert epochs_of(fold, callback, epochs=2) == [0, 1]
        assert caplog.text.count(OWN_DIRECTORY) == (seed > 1)
        fit(alone := another(seed), epochs=2)
        assert updates(fold) == 8 and same(fold, alone)
        trained.append(callback.best() or callback.last())
        assert [record.step for record in callback.records()] == [4, 8], "its own only"
    assert len({record.run for record in trained}) == 2


def folds(dirpath, *, killed=None, policy=EACH_EPOCH_AND_STEP):
    """A script that trains three models in one directory; return what each of them ends with."""
    new_process()
    callback, ends = checkpoint(dirpath, policy), []
    for seed in (1, 2, 3):
        others = [At("on_train_batch_begin", killed[1], kill)] if killed and killed[0] == seed else []
        fit(fold := another(seed), *others, callback, epochs=2)
        ends.append(fingerprint(fold))
    return ends


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("policy", "place"),
    [
        pytest.param(EACH_EPOCH_AND_STEP, (2, 6), id="in the second"),
        pytest.param(LAST, (3, 6), id="in the third", marks=pytest.mark.slow),
        pytest.param(EACH_EPOCH, (3, 2), id="before the third has saved", marks=pytest.mark.slow),
    ],
)
def test_folds_that_are_killed_and_started_again_end_as_if_they_had_not_been(tmp_path, policy, place):
    whole = folds(tmp_path / "whole", policy=policy)
    with pytest.raises(Killed):
        folds(tmp_path / "cut", killed=place, policy=policy)
    assert folds(tmp_path / "cut", policy=policy) == whole


@pytest.mark.slow
@ONCE
def test_between_two_fits_the_callback_answers_as_before(tmp_path):
    def script(*others):
        new_process()
        model, callback = quick(), checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll(), best_by=VAL))
        fit(model, callback, epochs=2)
        found = [callback.best(), callback.last(), callback.final(), *callback.records()]
        fit(model, *others, callback, epochs=4, initial_epoch=2)
        return [record.file for record in found]

    with pytest.raises(Killed):
        script(At("on_train_batch_begin", 6, kill))
    again = script()
    assert len(again) == 5 and again[1] == again[2] == again[-1] and again == script()


@pytest.mark.slow
@ONCE
def test_the_next_fold_counts_patience_from_scratch(tmp_path):
    new_process()
    callback = checkpoint(tmp_path, Policy(Every(epochs=1), KeepAll(), stop=Patience(VAL, checks=2)), resume="never")
    seen = []
    for seed in (1, 2):
        fold = another(seed)
        fold.optimizer.learning_rate = 0.0  # nothing improves
        seen.append(epochs_of(fold, callback, epochs=5))
    assert seen == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.slow
@ONCE
def test_a_new_model_after_an_interrupted_fit_continues_it_as_in_a_notebook(tmp_path):
    new_process()
    with pytest.raises(Killed):
        fit(another(1), At("on_epoch_begin", 3, kill), checkpoint(tmp_path))
    assert epochs_of(another(2), checkpoint(tmp_path)) == [2]


def loop(dirpath, *, calls=3, killed=None, new=False, counted=False, policy=EACH_EPOCH_AND_STEP):
    """A script that trains one epoch at a time; return its model and the epochs of each call."""
    new_process()
    trained, callback, seen = quick(), checkpoint(dirpath, policy), []
    for call in range(calls):
        callback = checkpoint(dirpath, policy) if new else callback
        others = [At("on_train_batch_begin", killed[1], kill)] if killed and killed[0] == call else []
        settings = {"epochs": call + 1, "initial_epoch": call} if counted else {"epochs": 1}
        seen.append(len(epochs_of(trained, *others, callback, **settings)))
    return trained, seen


SAME, NEW, COUNTED = {}, {"new": True}, {"counted": True}
SLOW = pytest.mark.slow


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("form", "policy", "place"),
    [
        pytest.param(COUNTED, EACH_EPOCH_AND_STEP, (1, 3), id="initial_epoch"),
        *(
            pytest.param(form, policy, place, marks=SLOW)
            for form, policy in ((SAME, EACH_EPOCH), (NEW, EACH_EPOCH_AND_STEP), (COUNTED, LAST), (NEW, LAST))
            for place in ((1, 1), (2, 3))
        ),
    ],
)
def test_a_loop_that_is_killed_and_started_again_ends_as_if_it_had_not_been(tmp_path, form, policy, place):
    whole, seen = loop(tmp_path / "whole", policy=policy, **form)
    assert seen == [1] * 3 and updates(whole) == 12
    with pytest.raises(Killed):
        loop(tmp_path / "cut", policy=policy, killed=place, **form)
    again, _ = loop(tmp_path / "cut", policy=policy, **form)
    assert updates(again) == 12 and fingerprint(again) == fingerprint(whole)
    finished, seen = loop(tmp_path / "cut", policy=policy, **form)
    assert seen == [0] * 3 and fingerprint(finished) == fingerprint(whole)


def phases(dirpath, *, killed=None, policy=EACH_EPOCH_AND_STEP):
    """A script that trains a frozen network, and then all of it, compiled again, in one directory."""
    new_process()
    trained, seen = quick(), []
    for phase, rate in enumerate((0.01, 0.001)):
        trained.layers[0].trainable = phase == 1
        trained.compile(keras.optimizers.Adam(rate), trained.loss, metrics=["accuracy"], run_eagerly=True)
        others = [At("on_train_batch_begin", killed[1], kill)] if killed and killed[0] == phase else []
        seen.append(epochs_of(trained, *others, checkpoint(dirpath, policy), epochs=2))
    return trained, seen


@pytest.mark.slow
@ONCE
@pytest.mark.parametrize(
    ("policy", "place"),
    [
        pytest.param(EACH_EPOCH_AND_STEP, (1, 2), id="in the second"),
        pytest.param(EACH_EPOCH, (0, 6), id="in the first", marks=SLOW),
        pytest.param(EACH_EPOCH, (1, 2), id="before the second has saved", marks=SLOW),
        pytest.param(LAST, (1, 6), id="the first was deleted", marks=SLOW),
    ],
)
def test_two_phases_in_one_directory_continue_where_they_were_killed(tmp_path, policy, place):
    whole, seen = phases(tmp_path / "whole", policy=policy)
    assert seen == [[0, 1], [0, 1]]
    with pytest.raises(Killed):
        phases(tmp_path / "cut", killed=place, policy=policy)
    again, seen = phases(tmp_path / "cut", policy=policy)
    assert fingerprint(again) == fingerprint(whole)
    assert seen[0] == ([] if place[0] else [1]) and len(seen[1]) <= 2


@pytest.mark.slow
@ONCE
def test_a_script_that_asks_for_more_epochs_continues_from_the_newest(tmp_path):
    loop(tmp_path, calls=2)
    trained = quick()
    assert epochs_of(trained, checkpoint(tmp_path, EACH_EPOCH_AND_STEP), epochs=3) == [2] and updates(trained) == 12


@ONCE
def test_a_run_whose_directory_was_deleted_starts_from_scratch(tmp_path):
    new_process()
    for seed in (1, 2):
        assert epochs_of(another(seed), checkpoint(tmp_path / "run"), epochs=1) == [0]
        assert [record.fit for record in checkpoint(tmp_path / "run").records()] == [1]
        shutil.rmtree(tmp_path / "run")
