"""The averaged weights in a Lightning checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..reduction import no_averages

CURRENT = "current_model_state"  # the trained weights, if `WeightAveraging` has put the averages into `state_dict`
_EXPECTED = "a full checkpoint of a run with EMAWeightAveraging, WeightAveraging or StochasticWeightAveraging"


def weights_of(checkpoint: Mapping[str, Any], source: str | None) -> Any:
    """Return the state dictionary with the weights of a source.

    Args:
        checkpoint: The checkpoint.
        source: See `Contents`.

    Raises:
        StoreError: It has no such weights.
    """
    own = checkpoint["state_dict"]
    if source is None:
        return own
    states = checkpoint.get("callbacks", {})
    if CURRENT in checkpoint:
        if source == "model":
            return checkpoint[CURRENT]
        if source == "swa" and any(str(key).startswith("EMAWeightAveraging") for key in states):
            raise no_averages(source, "source='ema', because EMAWeightAveraging made its averages")
        if not int(checkpoint.get("averaging_state", {}).get("n_averaged", 1)):
            raise no_averages(source, "a later checkpoint, because averaging had not begun")
        return own
    if source == "model":
        return own
    found = [state for key, state in states.items() if str(key).startswith("StochasticWeightAveraging")]
    averages = found[0].get("average_model_state") if found else None
    if averages is None or source != "swa":
        raise no_averages(source, _EXPECTED)
    if not found[0].get("n_averaged"):
        raise no_averages(source, "a later checkpoint, because averaging had not begun")
    averaged = copy.copy(own)
    averaged.update({name: value for name, value in averages.items() if name in own})
    return averaged
