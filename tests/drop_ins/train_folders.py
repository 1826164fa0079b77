"""Fits whose checkpoints are folders, with the original and with the drop-in: ``DIRPATH``. The second fit resumes.

Prints, as JSON, the step in each checkpoint after each fit, and where links lead.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from tests.drop_ins.lightning_patterns import Logs, new_trainer
from tests.drop_ins.lightning_runs import BOTH


class Sharded(Logs):
    def configure_model(self):
        self.net = fully_shard(torch.nn.Linear(2, 1), mesh=self.device_mesh["data_parallel"])
        del self.weight

    def training_step(self, batch, index):
        return self.net(batch).sum()


def fit(callback, epochs):
    """Train from the last checkpoint, if there is one. The best epoch is the third."""
    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1)
    trainer = new_trainer(callback, strategy=strategy, devices=1, max_epochs=epochs)
    trainer.fit(Sharded({"val_loss": [0.9, 0.6, 0.4, 0.7]}), ckpt_path="last")


def look(folder):
    """Return what each checkpoint of a folder is."""
    return {
        path.name: os.readlink(path) if path.is_symlink() else torch.load(path / "meta.pt")["global_step"]
        for path in sorted(folder.glob("*.ckpt"))
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {}
    for name, kind in BOTH.items():
        folder, found[name] = Path(sys.argv[1], name), []
        for epochs in (3, 4):
            fit(kind(folder, monitor="val_loss", save_last="link"), epochs)
            found[name].append(look(folder))
    print(json.dumps(found))
    torch.distributed.destroy_process_group()  # else gloo's threads may abort the interpreter as it ends
