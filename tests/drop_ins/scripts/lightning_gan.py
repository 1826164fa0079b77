"""A generator and a discriminator with manual optimization, whose newest checkpoint by time is resumed from."""

import glob
import os

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader


class GAN(L.LightningModule):
    def __init__(self, latent=8):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(32, 1))

    def loss(self, images, real):
        target = torch.full((len(images), 1), float(real))
        return nn.functional.binary_cross_entropy_with_logits(self.discriminator(images), target)

    def training_step(self, batch, batch_idx):
        for_generator, for_discriminator = self.optimizers()
        made = self.generator(torch.randn(len(batch), self.hparams.latent))

        self.toggle_optimizer(for_generator)
        loss = self.loss(made, real=True)
        self.log("g_loss", loss, prog_bar=True)
        self.manual_backward(loss)
        for_generator.step()
        for_generator.zero_grad()
        self.untoggle_optimizer(for_generator)

        self.toggle_optimizer(for_discriminator)
        loss = (self.loss(batch, real=True) + self.loss(made.detach(), real=False)) / 2
        self.log("d_loss", loss, prog_bar=True)
        self.manual_backward(loss)
        for_discriminator.step()
        for_discriminator.zero_grad()
        self.untoggle_optimizer(for_discriminator)

    def configure_optimizers(self):
        return [
            torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (self.generator, self.discriminator)
        ]


L.seed_everything(5)
images = torch.tensor(load_digits().data[:200] / 16, dtype=torch.float32)
model = GAN()
found = glob.glob("gan/*.ckpt")
trainer = L.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False,
    callbacks=[ModelCheckpoint("gan", "{epoch}-{d_loss:.4f}", monitor="epoch", mode="max", save_top_k=2)],
)  # fmt: skip
trainer.fit(
    model, DataLoader(images, 20, shuffle=True), ckpt_path=max(found, key=os.path.getmtime, default=None),
    weights_only=False,
)  # fmt: skip
