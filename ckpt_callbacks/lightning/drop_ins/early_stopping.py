"""The drop-in for Lightning's EarlyStopping."""
# No `annotations` from `__future__`: LightningCLI reads the types of the arguments.

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping as Original

from ...config.meaning import Meaning
from ...policy.policy import Policy
from .arguments import EARLY_STOPPING, checked
from .policy_of import stop_meaning_of


class EarlyStopping(Original):
    """Lightning's EarlyStopping, with the ``patience`` that the code says, also after a resume.

    All else is as in the original; docs/drop-ins.md lists the differences.
    """

    @checked(EARLY_STOPPING)
    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        super().__init__(
            monitor, min_delta, patience, verbose, mode, strict, check_finite, stopping_threshold, divergence_threshold,
            check_on_train_epoch_end, log_rank_zero_only,
        )  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        patience: int = self.patience  # type: ignore[has-type]
        super().load_state_dict(state_dict)
        self.patience = patience  # the checkpoint's would override a change of the script

    def to_policy(self) -> Policy:
        """Return the policy that the arguments mean, for `LightningCheckpoint`; ``print(....to_yaml())`` shows it.

        Its ``stop`` is what this callback does. It also saves, as Lightning does by default: at the end of each
        epoch, of which it keeps the newest checkpoint.

        Raises:
            PolicyError: An argument has no meaning in a policy, such as a negative ``min_delta``.
        """
        return self.explain().policy

    def explain(self) -> Meaning:
        """Return what the arguments mean: the policy, notes, and what the drop-in does otherwise.

        Raises:
            PolicyError: As for `to_policy`.
        """
        return stop_meaning_of(self)
