"""The models that the tests of the export train: an MLP, and a CNN with what differs between training and use."""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks.lightning import LightningCheckpoint


class Net(lightning.LightningModule):
    """An MLP with hyperparameters and sample inputs."""

    def __init__(self, width=8, tied=False):
        super().__init__()
        self.save_hyperparameters()
        self.first, self.second = torch.nn.Linear(6, width), torch.nn.Linear(width, 3)
        if tied:
            self.again = self.second
        self.example_input_array = torch.zeros(1, 6)

    def forward(self, features):
        return self.second(torch.relu(self.first(features)))

    def training_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.05)


class Cnn(Net):
    """A CNN with batch normalization and dropout, which takes six numbers as a picture."""

    def __init__(self, width=4):
        super().__init__(width)
        self.net = torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 2, 3)), torch.nn.Conv2d(1, width, 2, padding=1), torch.nn.BatchNorm2d(width),
            torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(12 * width, 3),
        )  # fmt: skip

    def forward(self, features):
        return self.net(features)


def train(dirpath, module, epochs=1, policy=None):
    """Train for a few steps and return the run directory."""
    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,))), 8)
    callback = LightningCheckpoint(dirpath, policy, monitor=None if policy else "train_loss")
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[callback], logger=False, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    return dirpath
