"""The state of a fit that is embedded in each checkpoint, among the states of Lightning's callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..torch.rng import RandomState


class Place(str, Enum):
    """A place in an epoch; checkpoints store the value."""

    EPOCH_END = "epoch_end"  # the whole epoch is done
    MID_EPOCH = "mid_epoch"  # a batch is done, and the next one follows
    VALIDATION = "validation"  # a batch is done, and a validation follows
    TRAINED = "trained"  # the last batch is done, with the validation after it; the hooks of the epoch's end follow


@dataclass(frozen=True)
class ProcessState:
    """The state of one process.

    Attributes:
        random: The states of the random generators.
        generators: The states of the generators that were passed to loaders and samplers.
        epoch_sums: What was logged in the running epoch. None at an epoch's end.
        metric_states: The states of the torchmetrics objects that were logged in it. None at an epoch's end, and if the
            file does not contain them.
        order: What the order of the running epoch was drawn from. None at an epoch's end, and for stateful loaders.
        before_hooks: The states of the random generators before the hooks that begin the running epoch. None at an
            epoch's end, and if the file does not contain them.
        prefetched: Batches that were taken from stateful loaders and are not trained yet. None at an epoch's end.
    """

    random: RandomState
    generators: list[Any]
    epoch_sums: list[dict[str, Any]] | None = None
    order: dict[str, Any] | None = None
    prefetched: list[Any] | None = None
    before_hooks: RandomState | None = None
    metric_states: dict[str, dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state in the form that a checkpoint holds."""
        state = {"random": self.random, "generators": self.generators}
        later = {"results": self.epoch_sums, "order": self.order, "ahead": self.prefetched}
        later |= {"before_hooks": self.before_hooks, "metric_states": self.metric_states}
        return state | {key: value for key, value in later.items() if value is not None}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ProcessState:
        """Return the state that a checkpoint holds."""
        return cls(
            random=state["random"],
            generators=state["generators"],
            epoch_sums=state.get("results"),
            order=state.get("order"),
            prefetched=state.get("ahead"),
            before_hooks=state.get("before_hooks"),
            metric_states=state.get("metric_states"),
        )


@dataclass(frozen=True)
class FitState:
    """The state of one fit, for all of its processes.

    Attributes:
        place: Where in an epoch the checkpoint was taken.
        plateau_steps: Steps of ReduceLROnPlateau that Lightning would have taken only after the save.
        plateau_metrics: The last values of the metrics that ReduceLROnPlateau waits for; where the hooks of the epoch's
            end follow, those of all metrics.
        should_stop: True if something had asked training to stop.
        frozen: The parameters without gradients. None if the file does not contain them.
        frozen_at_start: The same when the fit began to train.
        optimizers: The classes of the optimizers; see `optimizer_classes`. None if the file does not contain them.
        epochs: Number of completed epochs. None if the file does not contain it.
        epoch_step: Optimizer updates done when the running epoch began. None if the file does not contain it.
        processes: The states of the processes, by rank.
        measured: The metrics of the last batch, if the event that reports them comes after the checkpoint.
        steps: Number of steps done if batches count as steps. None if Lightning counts, or the file does not contain
            it.
        data: What the loaders yield in the running epoch; see `epoch_data`. None at an epoch's end, and if the file
            does not contain it.
    """

    place: Place
    plateau_steps: Sequence[tuple[int, float]] = ()
    plateau_metrics: dict[str, float] = field(default_factory=dict)
    should_stop: bool = False
    frozen: list[str] | None = None
    epochs: int | None = None
    processes: Sequence[ProcessState] = ()
    frozen_at_start: list[str] | None = None
    optimizers: list[list[str]] | None = None
    epoch_step: int | None = None
    steps: int | None = None
    measured: dict[str, float] = field(default_factory=dict)
    data: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state in the form that a checkpoint holds."""
        return {
            "at": self.place.value,
            "owed": list(self.plateau_steps),
            "metrics": self.plateau_metrics,
            "stopping": self.should_stop,
            "frozen": self.frozen,
            "frozen_at_start": self.frozen_at_start,
            "epochs": self.epochs,
            "epoch_step": self.epoch_step,
            "steps": self.steps,
            "measured": self.measured,
            "data": self.data,
            "optimizers": self.optimizers,
            "processes": [process.to_dict() for process in self.processes],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> FitState:
        """Return the state that a checkpoint holds."""
        return cls(
            place=Place(state["at"]),
            plateau_steps=state["owed"],
            plateau_metrics=state["metrics"],
            should_stop=state["stopping"],
            frozen=state.get("frozen"),
            frozen_at_start=state.get("frozen_at_start"),
            epochs=state.get("epochs"),
            epoch_step=state.get("epoch_step"),
            steps=state.get("steps"),
            measured=state.get("measured", {}),
            data=state.get("data"),
            optimizers=state.get("optimizers"),
            processes=[ProcessState.from_dict(process) for process in state["processes"]],
        )


def without_plateau_steps(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of a callback in a checkpoint, without the pending steps of ReduceLROnPlateau."""
    return {**state, "owed": []} if "owed" in state else state
