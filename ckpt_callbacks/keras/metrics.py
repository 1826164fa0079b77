"""The metrics that Keras passes to its callbacks, as plain numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..errors import MetricError


def floats(logs: Mapping[str, Any] | None, monitored: Collection[str] = ()) -> dict[str, float]:
    """Return the metrics as plain numbers, and leave out those that are not numbers.

    Args:
        logs: The metrics.
        monitored: The names of the metrics that the policy reads.

    Raises:
        MetricError: A metric that the policy reads consists of several numbers.
    """
    found = {}
    for name, value in (logs or {}).items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            if name in monitored and (isinstance(value, list | tuple) or hasattr(value, "shape")):
                raise MetricError(
                    f"the metric {name!r} consists of {np.size(value)} numbers; expected one number, such as that of "
                    "F1Score(average='macro'), or another metric in the policy"
                ) from None
    return found
