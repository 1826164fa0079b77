"""A recurrent forecast with clipped and accumulated gradients and a schedule by plateau, saved at times and at best."""

import os
from datetime import timedelta

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Forecast(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRU(1, 12, batch_first=True), nn.Linear(12, 1)

    def error(self, batch):
        return nn.functional.huber_loss(self.head(self.cell(batch[0])[0][:, -1]), batch[1])

    def training_step(self, batch, batch_idx):
        loss = self.error((batch[0] + 0.01 * torch.randn_like(batch[0]), batch[1]))
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.error(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.RMSprop(self.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


L.seed_everything(9)
series = torch.sin(torch.arange(320) / 7.0) + 0.1 * torch.randn(320)
windows = series.unfold(0, 21, 1)
x, y = windows[:, :20, None], windows[:, 20:]
model = Forecast()
callbacks = [
    ModelCheckpoint("model", "best", monitor="val_loss", save_top_k=1),
    ModelCheckpoint("model", "timed", train_time_interval=timedelta(seconds=0), save_top_k=1),
]
trainer = L.Trainer(
    max_epochs=3, callbacks=callbacks, accelerator="cpu", logger=False, enable_progress_bar=False,
    gradient_clip_val=0.5, accumulate_grad_batches=2,
)  # fmt: skip
resumed = "model/timed.ckpt" if os.path.exists("model/timed.ckpt") else None
trainer.fit(
    model, DataLoader(TensorDataset(x[:200], y[:200]), 20, shuffle=True),
    DataLoader(TensorDataset(x[200:], y[200:]), 50), ckpt_path=resumed, weights_only=False,
)  # fmt: skip
