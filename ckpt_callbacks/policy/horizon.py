"""Until when nothing can be due, so that nobody need ask at each step."""

from __future__ import annotations

import math

from ..events import Event, EventKind
from .engine import asks_for_something
from .intervals import NEVER, NOW, Horizon
from .policy import Policy
from .state import State


def horizon(policy: Policy, state: State, deadline: float | None = None) -> Horizon:
    """The first step, training time and time of day at which the end of a step can lead to anything.

    Until one of them is reached, a `STEP_END` event of the same epoch that brings no metrics may be left out: `decide`
    would ask for nothing at it, and decides the same about every later event without having seen it.

    What the triggers answer at such an event now, they go on to answer until the first of them comes to its own
    `next_moment`. So when they ask for no save now, they ask for none before; else the horizon is now, or the step
    from which on a save is tried again that failed.

    Args:
        policy, state: As `decide` left it. deadline: of the events to come; see `Event`.
    """
    nearest = NEVER
    for leaf in policy.leaves:
        nearest = nearest.earlier(leaf.next_moment(state, deadline))
    begun = all(key in state.tracks for key in policy.tracks.values())
    steady = policy.stop is None or all(rule.steady for rule in policy.stop.parts())
    if not begun or not steady or nearest.step <= state.step:
        return NOW
    # Far from every deadline: that none is near holds until the horizon.
    event = Event(
        EventKind.STEP_END, state.step, state.epoch, state.time, wall=-math.inf, deadline=deadline
    )  # fmt: skip
    saves, stops = asks_for_something(policy, state, event)
    if stops:
        return NOW
    return nearest.earlier(Horizon(step=state.retry_step)) if saves else nearest
