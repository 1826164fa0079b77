"""One or several gloo processes: ``DIRPATH PROCESSES STEP KIND``. Rank 0 prints the samples of each epoch as JSON.

At batch STEP, all processes end without a word, after they have printed their samples.
"""

import json
import os
import sys

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model
from tests.adapters.lightning.test_changed_data import ROWS, Stream, dataset

dirpath, processes, step, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


class Seen(Callback):
    def __init__(self):
        self.samples = {}

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == step:
            self.show(trainer)
            os._exit(3)

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.samples.setdefault(trainer.current_epoch, []).extend(batch[2].tolist())

    def show(self, trainer):
        found = [self.samples]
        if trainer.world_size > 1:
            found = [None] * trainer.world_size
            torch.distributed.all_gather_object(found, self.samples)
        if trainer.is_global_zero:
            together = {epoch: [row for one in found for row in one[epoch]] for epoch in self.samples}
            print(json.dumps(together), flush=True)


class Strided(Stream):
    """Gives each process its own samples, and has no position."""

    state_dict = load_state_dict = property()  # torchdata must not find them

    def __iter__(self):
        rank, size = (torch.distributed.get_rank(), processes) if processes > 1 else (0, 1)
        return iter([self.data[place] for place in range(rank, ROWS, size)])

    def __len__(self):
        return ROWS // processes


MADE = {
    "plain": lambda: DataLoader(dataset(), 4, shuffle=True),
    "same batch": lambda: DataLoader(dataset(), 8 // processes, shuffle=True),
    "stateful": lambda: StatefulDataLoader(dataset(), 4, shuffle=True),
    "stream": lambda: DataLoader(Strided(), 4),
}
lightning.seed_everything(7, verbose=False)
seen, callback = Seen(), LightningCheckpoint(dirpath, Policy(Every(steps=1), KeepLast(2)), background=False)
strategy = "ddp" if processes > 1 or kind == "same batch" else "auto"  # with ddp, one process shares its order as well
trainer = lightning.Trainer(
    strategy=strategy, devices=processes, accelerator="cpu", max_epochs=3, callbacks=[seen, callback], logger=False,
    enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
)  # fmt: skip
trainer.fit(Model(), MADE[kind](), ckpt_path=callback.resume_path())
seen.show(trainer)
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()  # else gloo's threads may abort the interpreter as it ends
