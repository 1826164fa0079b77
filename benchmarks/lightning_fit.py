"""A real Lightning fit with a state of a given size, to measure the saves of one subject."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from .lightning_subjects import LightningSubject

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

LAYERS = 24


class Model(lightning.LightningModule):
    """A model of linear layers with Adam; a third of the bytes of its state are weights.

    Only the first step trains all layers, so that each gets its optimizer state. Later steps train only the last layer,
    so a step costs almost nothing for a state of any size, apart from ``work`` products of 1024 x 1024 matrices.
    """

    def __init__(self, size: int, work: int = 0) -> None:
        super().__init__()
        self.width, self.work = max(2, round((size / 12 / LAYERS) ** 0.5)), work
        self.layers = torch.nn.ModuleList(torch.nn.Linear(self.width, self.width) for _ in range(LAYERS))
        self.steps = 0

    def setup(self, stage: str) -> None:
        self.matrix = torch.ones(1024, 1024, device=self.device)

    def training_step(self, batch, index: int) -> torch.Tensor:
        with torch.no_grad():
            for _ in range(self.work):
                torch.mm(self.matrix, self.matrix)
        value = torch.ones(1, self.width, device=self.device)
        for layer in self.layers[0 if self.steps == 0 else -1 :]:
            value = layer(value)
        self.steps += 1
        return value.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-6)


def synchronise() -> None:
    """Wait until the GPU, if one is in use, has finished its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Around(lightning.Callback):
    """A callback that calls ``begin`` before each training step, and ``end`` after it and before the subject's hook."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self.begin, self.end = begin, end

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        self.begin()

    def on_train_batch_end(self, trainer, module, *_) -> None:
        self.end()


def call_whole(hook: Callable[..., object], name: str, trainer, module, *arguments) -> None:
    """Call a callback's hook, and what it has put off until after the module's own hook, which is empty here."""
    hook(trainer, module, *arguments)
    if (put_off := vars(module).get(name)) is not None:
        put_off(*arguments)


def trainer_of(subject: LightningSubject, steps: int, extra: tuple = ()) -> lightning.Trainer:
    """Return a silent trainer for a number of steps, with the callback and plugins of the subject."""
    checkpoint = isinstance(subject.callback, lightning.pytorch.callbacks.Checkpoint)
    return lightning.Trainer(
        max_epochs=1, limit_train_batches=steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=checkpoint, accelerator=subject.accelerator, devices=1,
        callbacks=[*extra, *([subject.callback] if subject.callback else [])], plugins=list(subject.plugins),
    )  # fmt: skip


def loader(steps: int) -> DataLoader:
    """Return a loader with one batch per step."""
    return DataLoader(TensorDataset(torch.zeros(steps, 1)))


def fit(
    subject: LightningSubject,
    state: int | lightning.LightningModule,
    steps: int,
    *,
    work: int = 0,
    save: Callable[[Callable[[], object], int], None] | None = None,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
    ready: Callable[[], dict] = dict,
) -> None:
    """Train for a number of steps.

    Args:
        subject: The saving method.
        state: The size of the state in bytes, or the module to train.
        steps: The number of steps.
        work: The number of matrix products in each step.
        save: Called after each step instead of the subject's hook, with the hook and the number of steps done. It must
            call the hook. By default, the hook runs unchanged.
        begin: Called before each step.
        end: Called after each step, before the hook.
        ready: Called when the model exists. Returns further arguments for the framework's `fit`.
    """
    if subject.callback is not None and save is not None:
        hook = getattr(subject.callback, subject.hook)

        def instead(trainer, *arguments) -> None:
            synchronise()
            subject.at(trainer.global_step)
            save(lambda: call_whole(hook, subject.hook, trainer, *arguments), trainer.global_step)

        setattr(subject.callback, subject.hook, instead)
    module = Model(state, work) if isinstance(state, int) else state
    arguments = ready()
    trainer_of(subject, steps, (Around(begin, end),)).fit(module, loader(steps), **arguments)
