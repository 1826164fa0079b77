"""The Keras drop-ins beside the originals, with many arguments and recorded logs: the same at each epoch."""

from functools import partial

import keras
import numpy as np
import pytest

from ckpt_callbacks.keras import EarlyStopping, ModelCheckpoint
from tests.adapters.keras.task import ONCE
from tests.drop_ins.keras_files import tiny
from tests.drop_ins.keras_grid import (
    CHUNKS,
    CURVES,
    checkpoint_cases,
    parts,
    play,
    stopping_cases,
    weights_in,
)

pytestmark = ONCE
MOST = 500 * CHUNKS


@pytest.fixture(scope="module")
def model():
    return tiny()


def differs(case, error):
    """Return which of the named differences of docs/drop-ins.md a case of `ModelCheckpoint` shows; None for none."""
    values, best_only = CURVES[case["curve"]], case["save_best_only"]
    if best_only and "nan" in case["curve"] and case["monitor"].startswith("val_"):
        return "nan"
    if "{unknown}" in case["filepath"] or (error and error[0] is KeyError):
        return "a name that is not logged"
    if best_only and error and error[0] is TypeError and case["save_freq"] != "epoch":
        return "a comparison in mid-epoch"
    if (
        best_only
        and case["monitor"] != "loss"
        and (
            case["initial_value_threshold"] is not None
            or any(value is None for value in values)
            or case["save_freq"] != "epoch"
        )
    ):
        return "a metric that is missing"
    return None


def state(folder):
    def watch(callback):
        if isinstance(callback, ModelCheckpoint):
            callback.wait()
        facts = [callback.best, callback.monitor_op, callback.mode, callback.min_delta]
        facts += [callback._batches_seen_since_last_saving, callback._last_batch_seen]
        return facts, weights_in(folder)

    return watch


@pytest.mark.parametrize("part", parts(500))
def test_model_checkpoint_writes_the_same_files_with_the_same_attributes(tmp_path, model, part):
    named, equal = set(), 0
    for number, case in enumerate(checkpoint_cases(MOST)[slice(*part)]):
        case, curve = dict(case), case["curve"]
        arguments = {name: value for name, value in case.items() if name != "curve"}
        arguments["save_weights_only"] = case["filepath"].endswith(".weights.h5")
        found = []
        for kind, extra in (
            (keras.callbacks.ModelCheckpoint, {}), (ModelCheckpoint, {"background": number % 2 == 0})
        ):  # fmt: skip
            folder = tmp_path / f"{number}" / f"{len(found)}"
            folder.mkdir(parents=True)
            path = str(folder / arguments["filepath"])
            make = partial(kind, **{**arguments, "filepath": path}, **extra)
            played = play(make, model, curve, state(folder))
            played.printed = played.printed.replace(str(folder), "")
            played.warned = [line.replace(str(folder), "") for line in played.warned]
            found.append(played)
        theirs, ours = found
        reason = differs(case, theirs.error)
        try:
            assert_equal(ours, theirs, case)
            equal += 1
        except AssertionError:
            if reason is None:
                raise
            named.add(reason)
            assert ours.error is None or "isn't able to automatically determine" in ours.error[1], case
    assert equal > (part[1] - part[0]) * 0.5
    assert part[1] < 500 or len(named) == 4  # every one of the named differences is seen


def assert_equal(ours, theirs, case):
    assert ours.error == theirs.error, case
    assert ours.warned == theirs.warned and ours.printed == theirs.printed, case
    assert len(ours.seen) == len(theirs.seen), case
    for epoch, (mine, original) in enumerate(zip(ours.seen, theirs.seen, strict=True)):
        np.testing.assert_equal(mine, original, err_msg=f"{case}, epoch {epoch}")


@pytest.mark.parametrize("part", parts(500))
def test_early_stopping_decides_the_same_with_the_same_attributes(model, part):
    for case in stopping_cases(MOST)[slice(*part)]:
        arguments = {name: value for name, value in case.items() if name != "curve"}

        def watch(callback):
            facts = [callback.wait, callback.best, callback.best_epoch, callback.stopped_epoch, callback.monitor_op]
            best = callback.best_weights
            weights = [float(np.ravel(w)[0]) for w in best] if best is not None else None
            return [*facts, weights, model.stop_training, float(np.ravel(model.get_weights()[0])[0])]

        kinds = (original(EarlyStopping), EarlyStopping)
        found = [play(partial(kind, **arguments), model, case["curve"], watch) for kind in kinds]
        if "nan" in case["curve"] and case["monitor"] != "val_unknown":
            assert all(not is_nan(seen[1]) for seen in found[1].seen), case
        else:
            assert_equal(found[1], found[0], case)


def original(kind):
    return getattr(keras.callbacks, kind.__name__)


def is_nan(value):
    return isinstance(value, float) and value != value
