"""The policies that arguments mean save and stop at the epochs at which the originals do."""

import math
from types import SimpleNamespace

import keras
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import callbacks as lightning_callbacks

from ckpt_callbacks import EventKind, State, decide
from ckpt_callbacks.events import Event
from ckpt_callbacks.keras import EarlyStopping as KerasStopping
from ckpt_callbacks.keras import ModelCheckpoint
from ckpt_callbacks.lightning import EarlyStopping as LightningStopping
from tests.policy.stops import epochs, stopping_epochs

# Halves and quarters, whose differences are exact.
VALUES = st.integers(-8, 8).map(lambda n: n / 4)
CURVES = st.lists(st.one_of(VALUES, st.just(float("nan"))), min_size=1, max_size=12)
COMMON = {
    "patience": st.integers(0, 4),
    "min_delta": st.sampled_from([0.0, 0.25, 0.5]),
    "mode": st.sampled_from(["min", "max"]),
}


@given(
    CURVES,
    st.fixed_dictionaries(
        COMMON,
        optional={"check_finite": st.booleans(), "divergence_threshold": VALUES, "stopping_threshold": VALUES},
    ),
)
def test_early_stopping_of_lightning(curve, arguments):
    if (goal := arguments.get("stopping_threshold")) is not None:
        arguments["stopping_threshold"] = goal + 1 / 8  # at the very value, a policy stops and the original does not
    rule = LightningStopping("x", **arguments).to_policy().stop
    original = lightning_callbacks.EarlyStopping("x", **arguments)
    found = (
        n for n, value in enumerate(curve, start=1) if original._evaluate_stopping_criteria(torch.tensor(value))[0]
    )
    assert next(iter(stopping_epochs(rule, curve, "x")), None) == next(found, None)


@given(CURVES, st.fixed_dictionaries(COMMON, optional={"start_from_epoch": st.integers(0, 3)}))
def test_early_stopping_of_keras(curve, arguments):
    first = arguments.get("start_from_epoch", 0)
    curve = [0.0 if n == first and math.isnan(value) else value for n, value in enumerate(curve)]  # NaN is no best here
    rule = KerasStopping("x", **arguments).to_policy().stop
    original = keras.callbacks.EarlyStopping("x", **arguments)
    original.set_model(model := SimpleNamespace(stop_training=False))
    original.on_train_begin()
    found = None
    for epoch, value in enumerate(curve):
        original.on_epoch_end(epoch, {"x": value})
        if model.stop_training:
            found = epoch + 1
            break
    assert next(iter(stopping_epochs(rule, curve, "x")), None) == found


def saving_epochs(policy, curve):
    """The epochs at which a policy saves, if each save succeeds."""
    state, found = State(), []
    for event in epochs(curve, "x"):
        state, decision = decide(policy, state, event)
        if decision.save is not None:
            found.append(event.epoch)
            state, _ = decide(policy, state, Event(EventKind.SAVED, step=event.step, save_id=decision.save.id))
    return found


@given(
    CURVES,
    st.fixed_dictionaries(
        {"mode": COMMON["mode"], "save_best_only": st.booleans()}, optional={"initial_value_threshold": VALUES}
    ),
)
def test_model_checkpoint_of_keras(curve, arguments):
    curve = [0.0 if math.isnan(curve[0]) else curve[0], *curve[1:]]  # NaN is no best here
    original = keras.callbacks.ModelCheckpoint("a.keras", "x", **arguments)
    original._set_monitor_op()
    found = [n for n, x in enumerate(curve, 1) if original._should_save_model(n - 1, None, {"x": x}, "a.keras")]
    assert saving_epochs(ModelCheckpoint("a.keras", "x", **arguments).to_policy(), curve) == found
