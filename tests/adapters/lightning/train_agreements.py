"""Two gloo processes that seldom agree: ``DIRPATH KIND...``. Rank 0 prints, as JSON, what happened in each kind of fit.

The clock of the first process shows 10 ms a batch, that of the second one a second.
"""

import json
import os
import signal
import sys
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

import ckpt_callbacks
from ckpt_callbacks import At, CommitError, Every, Improves, KeepAll, Metric, NonFinite, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.testing import FakeClock
from tests.support.training import look_for_requests_at_once, run_of, written

BATCHES = 60
OWN = str(Path(ckpt_callbacks.__file__).parent)
batch, agreed = 0, []  # the running batch, from 1; the batches in which the package communicated


def note(name):
    call = getattr(torch.distributed.ProcessGroup, name)

    def noted(*arguments, **options):
        frame = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.startswith(OWN):
            frame = frame.f_back
        if frame is not None and batch not in agreed:
            agreed.append(batch)
        return call(*arguments, **options)

    setattr(torch.distributed.ProcessGroup, name, noted)


for name in ("allreduce", "broadcast", "barrier", "allgather", "gather", "reduce", "scatter", "alltoall"):
    note(name)


class Timed(LightningCheckpoint):
    def __init__(self, *arguments, **settings):
        self.clock = FakeClock()
        super().__init__(*arguments, clock=self.clock, **settings)

    def on_train_batch_start(self, trainer, module, data, index):
        global batch
        batch = trainer.current_epoch * BATCHES + index + 1
        self.clock.advance(1.0 if trainer.global_rank else 0.01)


class Model(lightning.LightningModule):
    def __init__(self, manual=False, logs=None):
        super().__init__()
        self.layer, self.automatic_optimization, self.logs = torch.nn.Linear(2, 1), not manual, logs

    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        if self.logs is not None:
            self.logs(self, index)
        if not self.automatic_optimization:
            self.manual_backward(loss)
            if index % 2:
                self.optimizers().step()
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", 1.0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Before(Callback):
    """Calls a function before one batch, in one process."""

    def __init__(self, rank, batch, call):
        self.rank, self.batch, self.call = rank, batch, call

    def on_train_batch_start(self, trainer, module, batch, index):
        if (trainer.global_rank, index + 1) == (self.rank, self.batch):
            self.call()


def fit(callbacks, module=None, **settings):
    global batch
    loader = DataLoader(TensorDataset(torch.ones(2 * BATCHES, 2)), 1)
    trainer = lightning.Trainer(
        strategy="ddp", devices=2, accelerator="cpu", callbacks=callbacks, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **{"max_epochs": 1, **settings},
    )  # fmt: skip
    batch = 0
    agreed.clear()
    trainer.fit(module or Model(), loader, DataLoader(TensorDataset(torch.ones(2, 2))))


def facts(*callbacks):
    """Return where both processes agreed and saved."""
    found = [None, None]
    torch.distributed.all_gather_object(found, agreed)
    assert found[0] == found[1], found
    saved = [record.step for callback in callbacks for record in callback.records()]
    return {"agreed": [batch for batch in agreed if batch > 0], "saved": saved}


def idle(place):
    callback = Timed(place, Policy(Every(steps=40) | Every(hours=1) | OnPreempt(), KeepAll()))
    fit([callback], max_epochs=2, val_check_interval=50)
    return facts(callback)


def asked(place):
    def ask():
        (place / "SAVE_NOW").touch()
        look_for_requests_at_once(run_of(callback))

    callback = Timed(place, Policy(Every(epochs=5), KeepAll()))
    fit([callback, Before(0, 20, ask)])
    return facts(callback)


def accumulated(place):
    callback = Timed(place, Policy(Every(steps=12), KeepAll()))
    fit([callback], accumulate_grad_batches=4)
    return facts(callback)


def manual(place):
    callback = Timed(place, Policy(Every(steps=12), KeepAll()))
    fit([callback], Model(manual=True))
    return facts(callback)


def several(place):
    callbacks = [Timed(place / str(steps), Policy(Every(steps=steps), KeepAll())) for steps in (20, 25)]
    fit(callbacks, limit_val_batches=0)
    return facts(*callbacks)


def logged_late(place):
    """The second process alone logs a metric that the policy monitors, from batch 20 on."""

    def log(module, index):
        if module.global_rank == 1 and index >= 20:
            module.log("late", 1.0, rank_zero_only=False)

    callback = Timed(place, Policy(Every(epochs=1), KeepAll(), stop=NonFinite("late")))
    fit([callback], Model(logs=log), limit_val_batches=0)
    return facts(callback)


def compared(place):
    """The policy compares the values of single steps."""

    def log(module, index):
        if index >= 20 and index % 10 == 5:
            module.log("step_loss", 1.0 / index)

    best = Metric("step_loss", mode="min", per="step")
    callback = Timed(place, Policy(Improves(best), KeepAll()))
    fit([callback], Model(logs=log), limit_val_batches=0)
    return facts(callback)


def nan(place):
    def log(module, index):
        module.log("loss", torch.tensor(float("nan") if index == 30 else 1.0))

    callback = Timed(place, Policy(Every(epochs=1), KeepAll(), stop=NonFinite("loss")))
    fit([callback], Model(logs=log), limit_val_batches=0)
    return facts(callback)


def fails(place):
    """The save at step 18 fails before batch 19."""
    callback = Timed(place, Policy(At(steps=[18]), KeepAll()), on_error="raise", min_free=2**62)
    error = None
    try:
        fit([callback, Before(0, 19, lambda: written(run_of(callback)))])
    except CommitError as raised:
        error = type(raised).__name__
    found = [None, None]
    torch.distributed.all_gather_object(found, error)
    return {"errors": found, "agreed": [batch for batch in agreed if batch > 0]}


def term(place):
    signalled = Before(1, 20, lambda: os.kill(os.getpid(), signal.SIGTERM))
    policies = {step: Policy(At(steps=[step]) | OnPreempt(), KeepAll()) for step in (25, 50)}
    fit([*(Timed(place / str(step), policy) for step, policy in policies.items()), signalled])


found = {}
for kind in sys.argv[2:]:
    found[kind] = globals()[kind](Path(sys.argv[1]) / kind)
if torch.distributed.get_rank() == 0:
    print(json.dumps(found))
torch.distributed.destroy_process_group()  # else gloo's threads may abort the interpreter as it ends
