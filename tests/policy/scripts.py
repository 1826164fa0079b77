"""Scripted training runs, played to the engine."""

import math

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import OnPreempt

NAN = math.nan
VAL = Metric("val_loss", mode="min")
ACC = Metric("acc", mode="max")
never = OnPreempt()


def epoch_end(epoch, **metrics):
    return Event.epoch_end(step=epoch * 100, epoch=epoch, time=epoch * 60.0, metrics=metrics, complete=False)


def play(policy, *script, state=None):
    """Play events; the word after an event says what became of its save. Returns the state and the decisions."""
    state, decisions = state or State(), []
    for item in script:
        if item == "saved":
            state, _ = decide(policy, state, Event.saved(decisions[-1].save.id))
        elif item == "dropped":
            state, _ = decide(policy, state, Event.dropped(decisions[-1].save.id, "disk full"))
        else:
            state, decision = decide(policy, state, item)
            decisions.append(decision)
    return state, decisions


def saved_flags(policy, *script):
    return [decision.save is not None for decision in play(policy, *script)[1]]
