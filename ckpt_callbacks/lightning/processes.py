"""The processes of one Trainer."""

from __future__ import annotations

import atexit
import dataclasses
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.signal_connector import _HandlersCompose, _SignalConnector

from ..errors import ResumeError
from ..run.run import Run
from ..runtime.processes import Agreement, Processes


class TrainerProcesses(Processes):
    """The processes of one Trainer, which communicate through its strategy."""

    def __init__(self, trainer: Trainer) -> None:
        self.is_primary, self.is_single = trainer.is_global_zero, trainer.world_size == 1
        self._strategy = trainer.strategy

    def broadcast(self, value: Any) -> Any:
        return value if self.is_single else self._strategy.broadcast(value)

    def agree(self, own: Agreement) -> Agreement:
        if self.is_single:
            return own
        facts = torch.tensor([int(fact) for fact in dataclasses.astuple(own)], device=self._strategy.root_device)
        torch.distributed.all_reduce(facts, torch.distributed.ReduceOp.MAX)
        requested, number, finished, measured, each_step, *others = facts.tolist()
        return Agreement(bool(requested), number, finished, bool(measured), bool(each_step), *others)

    def chained_handler(self, handler: Any) -> Any:
        # Lightning's own handler communicates with the other processes from within the signal handler, wherever they
        # are at that moment, and may hang all of them. `agree` does the same job between two steps.
        if self.is_single or not isinstance(handler, _HandlersCompose):
            return handler
        notifier = _SignalConnector._sigterm_notifier_fn
        return _HandlersCompose([h for h in handler.signal_handlers if getattr(h, "__func__", None) is not notifier])


def check_same_path(trainer: Trainer, processes: Processes, path: Any) -> None:
    """Make sure that all processes resume from the same checkpoint as the first one.

    Raises:
        ResumeError: A different path was passed in this process.
    """
    own = None if path is None else str(path)
    primary = processes.broadcast(own)
    if primary != own:
        raise ResumeError(
            f"process {trainer.global_rank}: ckpt_path is {path}; the first process has {primary}; expected the same "
            "one: call ckpt.resume_path() after all processes of the last run have ended"
        )


def hold_sigterm(trainer: Trainer, run: Run) -> None:
    """Prevent Lightning from ending a validation after its next batch if the run will handle the signal later."""
    if run.should_exit:
        trainer._signal_connector.received_sigterm = False


def leave_at_exit() -> None:
    """Have this process leave its group before it ends.

    With NCCL, Lightning takes care of that. With gloo, the group's threads sometimes abort the interpreter, and the
    exit code is lost.
    """
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
