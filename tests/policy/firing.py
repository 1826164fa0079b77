"""Triggers, played against events."""

from ckpt_callbacks.events import Event
from ckpt_callbacks.policy.engine import decide
from ckpt_callbacks.policy.metric import Metric
from ckpt_callbacks.policy.policy import Policy
from ckpt_callbacks.policy.state import State
from ckpt_callbacks.policy.triggers import Predicate

VAL = Metric("val_loss", mode="min")
ACC = Metric("acc", mode="max")
is_flagged = Predicate(lambda event: event.metrics.get("flag") == 1, name="flagged")


def step(n, **metrics):
    return Event.step_end(step=n, metrics=metrics)


def validated(n, **metrics):
    return Event.validation_end(step=n, metrics=metrics)


def outcome(save, saved):
    return Event.saved(save.id) if saved else Event.dropped(save.id, "disk full")


def reasons_at_each_event(trigger, events, saved=True, state=None):
    """Play the events; each save ends before the next event."""
    policy, state, reasons = Policy(save=trigger), state or State(), []
    for event in events:
        state, decision = decide(policy, state, event)
        reasons.append(decision.save.reasons if decision.save else ())
        if decision.save:
            state, _ = decide(policy, state, outcome(decision.save, saved))
    return reasons


def firing_steps(trigger, events, saved=True, state=None):
    reasons = reasons_at_each_event(trigger, events, saved, state)
    return [event.step for event, why in zip(events, reasons, strict=True) if why]
