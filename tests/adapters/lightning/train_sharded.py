"""Two gloo processes that share the weights: ``DIRPATH``. A gradient of the second one's part becomes NaN at step 7.

Rank 0 prints, as JSON, whether each record is finite, and the name of the file that a resume would load.
"""

import json
import os
import sys

import lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders


class Sharded(Model):
    def configure_model(self):
        for layer in (self.net[0], self.net[3]):
            fully_shard(layer, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch, index):
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def on_before_optimizer_step(self, optimizer):
        if (self.trainer.global_step, self.trainer.global_rank) == (7, 1):
            self.net[0].weight.grad.to_local().fill_(torch.nan)


lightning.seed_everything(7, verbose=False)
callback = LightningCheckpoint(sys.argv[1], Policy(Every(steps=5), KeepAll()))
trainer = lightning.Trainer(
    strategy=ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1), devices=2, accelerator="cpu",
    max_epochs=2, callbacks=[callback], logger=False, enable_progress_bar=False, enable_model_summary=False,
    limit_val_batches=0,
)  # fmt: skip
trainer.fit(Sharded(), *loaders())
if trainer.is_global_zero:
    finite = {record.file: record.finite for record in callback.records()}
    print(json.dumps([finite, os.path.basename(callback.resume_path())]))
torch.distributed.destroy_process_group()  # else gloo's threads may abort the interpreter as it ends
