"""Two gloo processes: ``DIRPATH MAX_EPOCHS [WHAT RANK STEP [hooks]]``. Rank 0 prints facts as JSON.

Before batch STEP, the process of that rank does something: ``crash`` (without a word), ``raise`` an exception, ``term``
(sends itself SIGTERM), ``stop`` (until a SIGCONT), or ``ask`` for a save; or it has begun ``fresh`` beside
one that resumes. With ``hooks``, the module's own hooks draw random numbers, and keep averages that are validated.
The clock shows half a second a step, so that the processes agree at each.
"""

import atexit
import json
import os
import signal
import sys

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, Improves, KeepLast, OnException, OnPreempt, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.testing import FakeClock
from tests.adapters.lightning.task import VAL, Model, digest, loaders
from tests.adapters.lightning.test_module_hooks import SwapsForValidation

dirpath, epochs = sys.argv[1], int(sys.argv[2])
what, rank, step = (*sys.argv[3:], None, None, None)[:3]
hooks = sys.argv[6:] == ["hooks"]


class Disturb(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        clock.advance(0.5)
        if (str(trainer.global_rank), str(trainer.global_step)) != (rank, step):
            return
        if what == "crash":
            os._exit(3)
        elif what == "raise":
            raise ZeroDivisionError
        elif what == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif what == "stop":
            print("stopped", os.getpid(), flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "ask":
            open(os.path.join(dirpath, "SAVE_NOW"), "w").close()


class Hooks(SwapsForValidation):
    def on_train_epoch_start(self):
        self.scale = 1 + torch.rand(())

    def training_step(self, batch, index):
        return self.scale * super().training_step(batch, index)

    def on_train_batch_end(self, *_):
        super().on_train_batch_end()
        torch.rand(3)


def say_whether_it_left():
    if not torch.distributed.is_initialized():
        print("left the group", file=sys.stderr)


atexit.register(say_whether_it_left)  # runs after everything that is registered later
lightning.seed_everything(7, verbose=False)
# no sync_dist: each rank measures a different value, but all ranks must make the same decision
policy = Policy(
    Every(epochs=1) | Every(steps=4) | Improves(VAL) | Every(hours=1) | OnPreempt() | OnException(),
    KeepLast(3),
    stop=Patience(VAL, 50),
)
clock = FakeClock()
callback = LightningCheckpoint(dirpath, policy, grace=float(os.environ.get("GRACE", 30)), clock=clock)
trainer = lightning.Trainer(
    strategy="ddp", devices=2, accelerator="cpu", max_epochs=epochs, callbacks=[callback, Disturb()], logger=False,
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
module = Hooks() if hooks else Model()
path = callback.resume_path()
if what == "fresh" and os.environ.get("LOCAL_RANK", "0") == rank:
    path = None
trainer.fit(module, *loaders(), ckpt_path=path)
if trainer.is_global_zero:
    reasons = {record.step: record.reasons for record in callback.records()}
    facts = {"steps": sorted(reasons), "digest": digest(module, trainer), "best": callback.best().step}
    print(json.dumps(facts | {"asked": [step for step, why in reasons.items() if "on demand" in why]}))
torch.distributed.destroy_process_group()  # else gloo's threads may abort the interpreter as it ends
