"""Train on scikit-learn's digits with Lightning: ``python train_lightning.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues.
"""

import logging
import sys
import warnings
from pathlib import Path

import lightning
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks.lightning import LightningCheckpoint

# Show the messages of ckpt_callbacks, and only warnings from everything else.
logging.basicConfig(format="%(message)s", level=logging.WARNING)
logging.getLogger("ckpt_callbacks").setLevel(logging.INFO)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning|torch")


class Digits(lightning.LightningModule):
    def __init__(self, width=256):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))
        self.example_input_array = torch.zeros(1, 64)  # for examples/export.py

    def forward(self, image):
        return self.net(image)

    def training_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 3e-3)


def main(run_dir, epochs=60):
    lightning.seed_everything(0, verbose=False)  # needed for a bit-identical resume
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    train, val = train_test_split(range(len(y)), test_size=0.3, random_state=0, stratify=y)
    ckpt = LightningCheckpoint.from_yaml(Path(__file__).with_name("ckpt.yaml"), dirpath=run_dir)
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[ckpt], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(
        Digits(),
        DataLoader(TensorDataset(x[train], y[train]), 32, shuffle=True),
        DataLoader(TensorDataset(x[val], y[val]), 512),
        ckpt_path=ckpt.resume_path(),  # the newest checkpoint that passes verification, or None
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
