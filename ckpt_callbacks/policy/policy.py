"""A policy: when to save, what to keep, when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike

from ..errors import PolicyError
from ..events import EventKind
from ..units import check_count
from .argument_names import suggests_fields, suggests_names
from .composition import Trigger
from .metric import Metric, as_metric
from .named_only import NamedOnly
from .retention import KeepAll, KeepBest, KeepLast, Retention, best_by
from .source_text import source_text
from .stopping import Patience, Stopping, name_of_batch
from .triggers import Every, Improves, OnDeadline, OnPreempt


@suggests_fields
@dataclass(frozen=True, repr=False)
class Policy:
    """When to save, what to keep, when to stop, as one value that both callbacks take.

    Example::

        val = Metric("val_loss", mode="min")
        Policy(
            save=Every(epochs=1) | Improves(val) | OnPreempt(),
            keep=KeepLast(2) | KeepBest(3, by=val),
            stop=Patience(val, checks=5),
        )

    Args:
        save: The trigger that says when to save.
        keep: The retention rule that says which checkpoints survive; by default, all.
        stop: The stopping rule, or None.
        best_by: The metric that decides which checkpoint is ``best``; by default that of the first `KeepBest`, else
            that of the first `Improves`.
    """

    save: Trigger
    keep: Retention = KeepAll()
    stop: Stopping | None = None
    best_by: Metric | None = None

    __repr__ = source_text

    def __post_init__(self) -> None:
        _check("save", self.save, Trigger, "a trigger, such as Every(epochs=1)")
        _check("keep", self.keep, Retention, "a retention rule, such as KeepLast(3)")
        if self.stop is not None:
            _check("stop", self.stop, Stopping, "a stopping rule, such as Patience(val, 5)")
        if self.best_by is not None:
            object.__setattr__(self, "best_by", as_metric("Policy: best_by", self.best_by))

    @cached_property
    def leaves(self) -> tuple[Trigger, ...]:
        """The single triggers, each once."""
        return tuple(dict.fromkeys(self.save.leaves()))

    @property
    def names_are_given(self) -> bool:
        """Whether other code decides when to save, and names each file; see `NamedOnly`."""
        return isinstance(self.save, NamedOnly)

    @cached_property
    def best_metric(self) -> Metric | None:
        """The metric that decides which checkpoint is ``best``."""
        saved_for = (metric for leaf in self.leaves for metric in leaf.metrics())
        return self.best_by or best_by(self.keep) or next(saved_for, None)

    @cached_property
    def tracks(self) -> Mapping[Metric, str]:
        """Each metric of the policy with the key of its track in the state.

        The key names the series, not the thresholds, so that a changed ``min_delta`` or ``patience`` takes effect
        at the next resume without forgetting what was measured.
        """
        found = [metric for leaf in self.leaves for metric in leaf.metrics()]
        found += () if self.stop is None else self.stop.metrics()
        found += self.keep.metrics()
        found += [self.best_by] if self.best_by else []
        keys: dict[Metric, str] = {}
        # Metrics of one series are numbered; sorted first, so that rules may be reordered.
        for metric in sorted(dict.fromkeys(found), key=lambda metric: (metric.start_from_epoch, metric.per)):
            base = f"{metric.mode} {metric.series}"
            same = sum(key == base or key.startswith(f"{base} #") for key in keys.values())
            keys[metric] = f"{base} #{same + 1}" if same else base
        return keys

    @cached_property
    def non_finite_names(self) -> tuple[str, ...]:
        """Names of the metrics whose NaN and infinite values are counted."""
        return () if self.stop is None else tuple(dict.fromkeys(self.stop.non_finite_names()))

    @cached_property
    def monitored(self) -> frozenset[str]:
        """Names of all metrics that any rule reads."""
        batches = map(name_of_batch, self.non_finite_names)
        return frozenset(self.non_finite_names).union(batches, *(metric.names for metric in self.tracks))

    @cached_property
    def compares_steps(self) -> bool:
        """Whether a rule compares the values of single steps."""
        return any(metric.per == "step" for metric in self.tracks)

    @cached_property
    def may_differ_across_ranks(self) -> bool:
        """Whether its decisions depend on a clock or a function, and not only on steps, epochs and metrics."""
        return any(leaf.may_differ_across_ranks for leaf in self.leaves)

    @cached_property
    def deadlines(self) -> tuple[OnDeadline, ...]:
        """The triggers that depend on a deadline, each once."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, OnDeadline))

    @cached_property
    def adaptive(self) -> tuple[Trigger, ...]:
        """The triggers that derive their interval from what saves cost, each once."""
        return tuple(leaf for leaf in self.leaves if leaf.pace is not None)

    @cached_property
    def saves_on_preempt(self) -> bool:
        """Whether a trigger asks for a last save when the process is about to be terminated."""
        return any(EventKind.PREEMPT in leaf.kinds for leaf in self.leaves)

    @cached_property
    def saves_on_exception(self) -> bool:
        """Whether a trigger asks for a save when training raises an exception."""
        return any(EventKind.EXCEPTION in leaf.kinds for leaf in self.leaves)

    @classmethod
    @suggests_names()
    def default(
        cls, monitor: str | Sequence[str] | Metric, mode: str | None = None, patience: int | None = None
    ) -> Policy:  # fmt: skip
        """Return the policy of a callback that is given no other one.

        It saves at the end of each epoch, every 20 minutes, when the metric improves, and on signals. It keeps the
        newest two checkpoints and the best one.

        Args:
            monitor: The name of a logged value, such as ``"val_loss"``; or a list of names, to use the first one that
                was logged; or a `Metric`.
            mode: ``"min"`` or ``"max"``. None, or ``"auto"``, if the name says it, such as a loss or an accuracy.
            patience: Epochs, or validations, without improvement after which training stops. None to train to the end.

        Raises:
            PolicyError: An argument is invalid, or the name does not say whether less or more is better.
        """
        metric = as_metric("Policy.default: monitor", monitor, mode)
        if patience is not None:
            check_count("Policy.default", "patience", patience)
        return cls(
            save=Every(epochs=1) | Every(minutes=20) | Improves(metric) | OnPreempt(),
            keep=KeepLast(2) | KeepBest(1, by=metric),
            stop=None if patience is None else Patience(metric, checks=patience),
        )

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], *, allow_code: bool = False) -> Policy:
        """Return the policy that a YAML file describes; see `ckpt_callbacks.config`.

        Args:
            path: The file.
            allow_code: Import the functions that `Predicate` rules of the file name.

        Raises:
            ConfigError: The file has mistakes; the error lists all of them.
        """
        from ..config import Config

        return Config.from_yaml(path, allow_code=allow_code).policy

    def to_yaml(self) -> str:
        """Return the policy as YAML text, which `from_yaml` reads back."""
        from ..config import Config

        return Config(policy=self).to_yaml()


def _check(field: str, value: object, kind: type, expected: str) -> None:
    if isinstance(value, kind):
        return
    several = isinstance(value, Sequence) and all(isinstance(part, kind) for part in value) and len(value) > 0
    hint = "; combine several with |, as in a | b" if several else ""
    raise PolicyError(f"Policy: {field} is {value!r}; expected {expected}{hint}")
