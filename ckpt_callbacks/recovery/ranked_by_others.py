"""The policy in the manifest of a directory in which other code decides what is saved and what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.config import Config
from ..policy.metric import Metric
from ..policy.policy import Policy
from ..policy.retention import KeepAll
from ..policy.triggers import Every


def ranked_by_others(metric: Metric | None) -> Mapping[str, Any] | None:
    """Return it as plain values: no command deletes anything, and the best checkpoint is the best by the metric."""
    return Config(Policy(Every(epochs=1), KeepAll(), best_by=metric)).described
