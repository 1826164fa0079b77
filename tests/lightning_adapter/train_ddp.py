"""Two gloo processes: ``DIRPATH MAX_EPOCHS [crash step]``. Rank 0 prints facts as JSON."""

import json
import sys

import lightning
from lightning.pytorch.callbacks import Callback
from lightning_adapter.task import VAL, Model, loaders

from ckpt_callbacks import Every, Improves, KeepLast, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

dirpath, epochs, crash = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None


class Crash(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == crash:
            import os

            os._exit(3)


lightning.seed_everything(7, verbose=False)
# no sync_dist: each rank measures something else, and they must decide alike all the same
policy = Policy(Every(epochs=1) | Every(steps=4) | Improves(VAL) | Every(hours=1), KeepLast(3), stop=Patience(VAL, 50))
callback = LightningCheckpoint(dirpath, policy)
trainer = lightning.Trainer(
    strategy="ddp", devices=2, accelerator="cpu", max_epochs=epochs, callbacks=[callback, Crash()], logger=False,
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
module = Model()
trainer.fit(module, *loaders(), ckpt_path=callback.resume_path())
if trainer.is_global_zero:
    weights = [float(p.double().sum()) for p in module.parameters()]
    print(json.dumps({"steps": [r.step for r in callback.records()], "weights": weights, "best": callback.best().step}))
