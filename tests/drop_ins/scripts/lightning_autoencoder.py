"""An autoencoder, as in Lightning's first tutorial, saved each few steps and resumed from the last checkpoint."""

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader


class LitAutoEncoder(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 64))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.decoder(self.encoder(batch)), batch)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


L.seed_everything(42)
images = torch.tensor(load_digits().data[:256] / 16, dtype=torch.float32)
model = LitAutoEncoder()
checkpoints = ModelCheckpoint(
    dirpath="checkpoints", filename="{epoch}-{step}", every_n_train_steps=5, save_top_k=-1, save_last=True
)
trainer = L.Trainer(max_epochs=4, callbacks=[checkpoints], accelerator="cpu", logger=False, enable_progress_bar=False)
trainer.fit(model, DataLoader(images, batch_size=32, shuffle=True), ckpt_path="last")
