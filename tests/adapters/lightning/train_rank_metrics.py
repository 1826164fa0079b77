"""Two gloo processes that measure different things: ``DIRPATH WHERE WHO``. Rank 0 prints facts as JSON.

WHERE is ``epoch``, ``mid_epoch`` or ``step``; WHO logs the metric: a rank, or ``all``.
"""

import json
import sys

import lightning
import torch

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders

dirpath, where, who = sys.argv[1:]


class Measured(Model):
    """Logs a metric that gets better, where and by whom the arguments say."""

    seen = 0

    def measure(self):
        self.seen += 1
        if who in ("all", str(self.trainer.global_rank)):
            self.log("map", float(self.seen + 10 * self.trainer.global_rank), rank_zero_only=True)

    def training_step(self, batch, index):
        if where == "step":
            self.measure()
        return super().training_step(batch, index)

    def on_validation_epoch_end(self):
        if where != "step":
            self.measure()


lightning.seed_everything(7, verbose=False)
best = Metric("map", mode="max", per="step" if where == "step" else "epoch")
callback = LightningCheckpoint(
    dirpath, Policy(Every(epochs=1) | Improves(best), KeepAll(), stop=Patience(best, 5), best_by=best)
)
trainer = lightning.Trainer(
    strategy="ddp", devices=2, accelerator="cpu", max_epochs=2, callbacks=[callback], logger=False,
    enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    val_check_interval=2 if where == "mid_epoch" else None,
)  # fmt: skip
trainer.fit(Measured(), *loaders())
if trainer.is_global_zero:
    print(json.dumps({record.step: record.metrics.get("map") for record in callback.records()}))
torch.distributed.destroy_process_group()
