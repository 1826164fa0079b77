"""The parts of a checkpoint that a run is resumed from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..errors import PolicyError

_PARTS = ("weights", "optimizer", "step")


@dataclass(frozen=True)
class ResumedParts:
    """The parts of a checkpoint that are restored. The weights always are.

    Attributes:
        optimizer: The optimizers and their schedules.
        step: The position in training, with everything that belongs to it: the counts of steps and epochs, random
            states, the order of the data, the state of the policy and of other callbacks.
    """

    optimizer: bool = True
    step: bool = True

    @classmethod
    def of(cls, only: Collection[str] | None, setting: Mapping[str, bool], where: str) -> ResumedParts:
        """Return the parts that a user names.

        Args:
            only: Their names; None for those of the setting.
            setting: See `Settings.resume`.
            where: The first words of the error message.

        Raises:
            PolicyError: A name is unknown, or the weights are missing.
        """
        if only is None:
            return cls(**setting)
        if isinstance(only, str) or not set(only) <= set(_PARTS) or "weights" not in only:
            raise PolicyError(
                f"{where}: only is {only!r}; expected a list of 'weights' and any of 'optimizer' and 'step', such as "
                '["weights", "step"]'
            )
        return cls("optimizer" in only, "step" in only)

    def __str__(self) -> str:
        names = ["weights", *["optimizer"] * self.optimizer, *["step"] * self.step]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
