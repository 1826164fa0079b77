"""A plain PyTorch training loop as the source of a run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ResumeError, first_line
from ..formats.reduction import FROZEN
from ..formats.torch.format import KEY
from ..run.snapshot import Snapshot
from ..run.source import Embedded
from .mapped_checkpoint import MappedCheckpoint, can_map
from .parameter_names import ParameterNames
from .rng import random_state, set_random_state
from .staging import TorchStaging
from .trained_tensors import trained_tensors


class TorchSource:
    """The model, optimizers and learning-rate schedulers of a training loop, for `Run.start`.

    A checkpoint is a dictionary with the keys of a Lightning checkpoint: ``state_dict``, and, unless it holds only
    weights, ``optimizer_states`` and ``lr_schedulers``. `torch.load` reads it with ``weights_only=True``. The states of
    the random generators and of the run are under the key ``ckpt_callbacks``. The position in the data is not saved: a
    loop derives it from `Run.state`.

    Args:
        module: The model.
        optimizers: Its optimizers.
        schedulers: Its learning-rate schedulers.
        staging: ``"memory"`` to copy the state, ``"none"`` to copy nothing and wait until each file is written; see
            `Settings.staging`. A run without a worker thread needs no copy.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler] = (),
        *,
        staging: str = "memory",
    ) -> None:
        self.module, self.optimizers, self.schedulers = module, tuple(optimizers), tuple(schedulers)
        self._staging, self._names = TorchStaging(staging), ParameterNames()

    def snapshot(self, embedded: Embedded) -> Snapshot:
        """Return the current state of training."""
        weights = self.module.state_dict()
        names, state = self._names.of(self.module), dict[str, Any](record=embedded.record)
        if embedded.names:
            state[FROZEN] = names.frozen_in_file
        checkpoint: dict[str, Any] = {"state_dict": weights, KEY: state}
        if not embedded.weights_only:
            checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in self.optimizers]
            checkpoint["lr_schedulers"] = [scheduler.state_dict() for scheduler in self.schedulers]
            state |= {"run": embedded.run, "random": random_state()}
        trained = trained_tensors(names.trained, weights)
        # Copies on a device run in order with training's own kernels, because the training loop may change anything
        # between two steps.
        return self._staging.stage(checkpoint, trained=trained)

    def metadata(self) -> Mapping[str, Any]:
        """Return the name of the model, and the learning rates."""
        rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        return {"model": type(self.module).__name__, "learning_rate": rates}

    def load(self, path: Path) -> Mapping[str, Any]:
        """Load a checkpoint, with the states of the random generators.

        Args:
            path: A checkpoint that a `TorchSource` wrote.

        Returns:
            The state for `Run.restore`.

        Raises:
            ResumeError: The file is not such a checkpoint, holds only weights, or does not fit this model or optimizer.
        """
        if not can_map(path):
            raise ResumeError(f"{path}: is not a torch.save file; expected a checkpoint that TorchSource wrote")
        try:
            mapped = MappedCheckpoint(path, "cpu", weights_only=True)
            state = mapped.loaded[KEY]
            run, random = state["run"], state["random"]
            states = mapped.loaded["optimizer_states"], mapped.loaded["lr_schedulers"]
        except Exception as error:  # torch raises many kinds of errors
            raise ResumeError(
                f"{path}: holds no state that TorchSource could resume from ({first_line(error)}); expected a full "
                "checkpoint that it wrote"
            ) from error
        parts = (self.optimizers, self.schedulers)
        try:
            self.module.load_state_dict(mapped.loaded["state_dict"])
            for objects, saved in zip(parts, states, strict=True):
                for one, its_state in zip(objects, saved, strict=True):
                    one.load_state_dict(its_state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise ResumeError(
                f"{path}: does not fit {type(self.module).__name__}: {first_line(error)}; expected the model, the "
                "optimizers and the schedulers that wrote it"
            ) from error
        mapped.detach(self.optimizers)
        set_random_state(random)
        return run
