"""The meaning of a callback of the frameworks here, as far as a policy and settings can say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..policy.metric import Metric
from ..policy.policy import Policy
from ..policy.retention import Retention, best_by
from ..settings import Settings
from .config import Config
from .peer_arguments import IN_PYTHON


@dataclass(frozen=True)
class Deviation:
    """One deliberate difference between a callback of the frameworks and the drop-in for it.

    Args:
        name: Its name in docs/drop-ins.md.
        original: What the framework's own callback does.
        drop_in: What the drop-in does instead.
        applies: Whether the arguments of a callback cause it. None if it concerns every callback.
    """

    name: str
    original: str
    drop_in: str
    applies: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class Meaning:
    """What the arguments of a callback mean here.

    Attributes:
        policy: The policy.
        settings: The fields of `Settings` that go with it.
        arguments: One line for each argument that this package's callback needs as well, because no policy can say it.
        notes: One line for each thing that is to be written elsewhere, or that a policy does otherwise.
        differences: The deliberate differences of the drop-in that these arguments bring about.
        general: The names of those that concern every callback of its class.
    """

    policy: Policy
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differences: tuple[Deviation, ...] = ()
    general: tuple[str, ...] = ()

    def to_yaml(self) -> str:
        """Return the policy and the settings as YAML text, for the callbacks of this package."""
        return Config(self.policy, Settings(**self.settings)).to_yaml()


def applying(differences: Iterable[Deviation], callback: Any) -> dict[str, Any]:
    """Return the fields of a `Meaning` that say in which of these differences a callback takes part."""
    known = tuple(differences)
    return {
        "differences": tuple(one for one in known if one.applies is not None and one.applies(callback)),
        "general": tuple(one.name for one in known if one.applies is None),
    }


def instead(*arguments: str) -> tuple[str, ...]:
    """Return a note for each of these arguments, which says what to write in its place."""
    return tuple(f"{name}: {IN_PYTHON[name].replace('nothing: ', 'nothing to write: ')}" for name in arguments)


def ranked_by(keep: Retention, metric: Metric) -> Metric | None:
    """Return the metric as the ``best_by`` of a policy, unless its retention rules say the same."""
    return None if metric == best_by(keep) else metric
