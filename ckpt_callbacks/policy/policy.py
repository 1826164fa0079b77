"""A policy: when to save, what to keep, when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike

from ..errors import PolicyError
from .composition import Trigger
from .metric import Metric, check_metric
from .pace import Optimal
from .retention import KeepAll, Retention, best_by
from .stopping import NonFinite, Stopping
from .triggers import Every, Improves, OnDeadline, OnPreempt


@dataclass(frozen=True)
class Policy:
    """When to save, what to keep, when to stop.

    Args:
        save: A trigger. keep: a retention rule; everything, by default. stop: a stopping rule, or None.
        best_by: The metric behind the alias ``best``; by default that of the first `KeepBest`, else of the
            first `Improves`.
    """

    save: Trigger
    keep: Retention = KeepAll()
    stop: Stopping | None = None
    best_by: Metric | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.save, Trigger):
            raise PolicyError(f"Policy: save is {self.save!r}; expected a trigger, such as Every(epochs=1)")
        if not isinstance(self.keep, Retention):
            raise PolicyError(f"Policy: keep is {self.keep!r}; expected a retention rule, such as KeepLast(3)")
        if self.stop is not None and not isinstance(self.stop, Stopping):
            raise PolicyError(f"Policy: stop is {self.stop!r}; expected a stopping rule, such as Patience(val, 5)")
        if self.best_by is not None:
            check_metric("Policy: best_by", self.best_by)

    @cached_property
    def leaves(self) -> tuple[Trigger, ...]:
        """The distinct single triggers."""
        return tuple(dict.fromkeys(self.save.leaves()))

    @cached_property
    def best_metric(self) -> Metric | None:
        """The metric behind the alias ``best``."""
        improves = (leaf.metric for leaf in self.leaves if isinstance(leaf, Improves))
        return self.best_by or best_by(self.keep) or next(improves, None)

    @cached_property
    def tracks(self) -> Mapping[Metric, str]:
        """Each metric of the policy with the key of its track in the state.

        The key names the series, not the thresholds, so that a changed ``min_delta`` or ``patience`` takes effect
        at the next resume without forgetting what was measured.
        """
        found: list[Metric] = [leaf.metric for leaf in self.leaves if isinstance(leaf, Improves)]
        found += () if self.stop is None else self.stop.metrics()
        found += [by for rule in self.keep.parts() if (by := getattr(rule, "by", None)) is not None]
        found += [self.best_by] if self.best_by else []
        keys: dict[Metric, str] = {}
        # Those of one series are told apart by their place; by warm-up first, so that rules may change their order.
        for metric in sorted(dict.fromkeys(found), key=lambda metric: metric.start_from_epoch):
            base = f"{metric.mode} {metric.series}"
            same = sum(key == base or key.startswith(f"{base} #") for key in keys.values())
            keys[metric] = f"{base} #{same + 1}" if same else base
        return keys

    @cached_property
    def counted(self) -> tuple[str, ...]:
        """Names whose non-finite values are counted."""
        rules = () if self.stop is None else self.stop.parts()
        return tuple(dict.fromkeys(name for rule in rules if isinstance(rule, NonFinite) for name in rule.monitor))

    @cached_property
    def monitored(self) -> frozenset[str]:
        """Every metric name that any rule looks at."""
        return frozenset(self.counted).union(*(metric.names for metric in self.tracks))

    @cached_property
    def follows_time(self) -> bool:
        """Its decisions depend on more than steps, epochs and metrics: on a clock, or on a function."""
        return any(leaf.uses_time for leaf in self.leaves)

    @cached_property
    def deadlines(self) -> tuple[OnDeadline, ...]:
        """The distinct triggers that look at a deadline."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, OnDeadline))

    @cached_property
    def adaptive(self) -> tuple[Every | Optimal, ...]:
        """The distinct triggers that choose their interval by what saves cost."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Every | Optimal) and leaf.pace is not None)

    @cached_property
    def saves_on_preempt(self) -> bool:
        """It wants a last save when the process is told to end."""
        return any(isinstance(leaf, OnPreempt) for leaf in self.leaves)

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], *, allow_code: bool = False) -> Policy:
        """The policy part of a YAML file; see `ckpt_callbacks.config`."""
        from ..config import Config

        return Config.from_yaml(path, allow_code=allow_code).policy

    def to_yaml(self) -> str:
        """The policy as YAML text that `from_yaml` reads back."""
        from ..config import Config

        return Config(policy=self).to_yaml()
