"""A command line that goes on from the last checkpoint each time it is called, as on a cluster that requeues jobs."""

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset


class Diabetes(L.LightningDataModule):
    def __init__(self, batch_size: int = 20):
        super().__init__()
        x, y = load_diabetes(return_X_y=True)
        x, y = torch.tensor(x, dtype=torch.float32) * 10, torch.tensor(y, dtype=torch.float32)[:, None] / 100
        self.train, self.val = TensorDataset(x[:200], y[:200]), TensorDataset(x[200:300], y[200:300])
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, 100)


class Regression(L.LightningModule):
    def __init__(self, width: int = 12, lr: float = 0.01):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, width), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.l1_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.nn.functional.l1_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.hparams.lr)


defaults = {
    "callbacks": [
        ModelCheckpoint("runs/a", monitor="val_loss", save_top_k=3, save_last="link"),
        ModelCheckpoint("runs/a", filename="step-{step}", every_n_train_steps=7, save_last=True),
    ],
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_epochs": 4, "val_check_interval": 0.5,
}  # fmt: skip
cli = LightningCLI(
    Regression, Diabetes, trainer_defaults=defaults, args=["fit", "--ckpt_path=last"], seed_everything_default=3,
    save_config_callback=None,
)  # fmt: skip
model = cli.model
