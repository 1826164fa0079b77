"""A tiny Lightning script whose arithmetic is exact on every processor: ``DIRPATH [KILL_AT_STEP]``.

The loss is absolute and every factor a power of two, so that no float is ever rounded. It prints the final weights
and momenta.
"""

import os
import signal
import sys

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Every, Improves, KeepBest, KeepLast, Metric, Patience, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

VAL = Metric("val_loss", mode="min")


class Killed(lightning.pytorch.callbacks.Callback):
    def __init__(self, step, checkpoint):
        self.step, self.checkpoint = step, checkpoint

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            self.checkpoint.wait()
            os.kill(os.getpid(), signal.SIGKILL)


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.dropout, self.layer = torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, -0.25, 1.0, 0.0]]))
            self.layer.bias.zero_()

    def loss(self, batch):
        return (self.layer(self.dropout(batch[0])) - batch[1]).abs().mean()

    def training_step(self, batch, index):
        return self.loss(batch)

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 2**-6, momentum=0.5)


def train(dirpath, kill_at=None):
    lightning.seed_everything(7, verbose=False)
    model = Model().double()
    x = torch.tensor([[(i * j) % 5 - 2 for j in (1, 2, 3, 7)] for i in range(1, 25)], dtype=torch.float64)
    y = torch.tensor([[i % 7 - 3] for i in range(24)], dtype=torch.float64)
    policy = Policy(
        Every(epochs=1) | Every(steps=2) | Improves(VAL),
        KeepLast(2) | KeepBest(1, by=VAL),
        Patience(VAL, checks=50),
    )
    checkpoint = LightningCheckpoint(dirpath, policy, metadata={"dataset": "integers"})
    extra = [Killed(kill_at, checkpoint)] if kill_at is not None else []
    trainer = lightning.Trainer(
        callbacks=[*extra, checkpoint], max_epochs=5, logger=False, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(
        model,
        DataLoader(TensorDataset(x, y), 4, shuffle=True),
        DataLoader(TensorDataset(x[:8], y[:8]), 8),
        ckpt_path=checkpoint.resume_path(),
    )
    momenta = [state["momentum_buffer"] for state in trainer.optimizers[0].state_dict()["state"].values()]
    return [v.hex() for t in (*model.parameters(), *momenta) for v in t.detach().double().flatten().tolist()]


if __name__ == "__main__":
    print(",".join(train(sys.argv[1], *map(int, sys.argv[2:]))))
