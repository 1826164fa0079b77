"""A small real task for the Lightning tests: regression on scikit-learn's diabetes data."""

import hashlib
import logging

import lightning
import torch
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Every, Improves, KeepAll, Metric, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
VAL = Metric("val_loss", mode="min")
EACH_EPOCH = Policy(Every(epochs=1) | Improves(VAL), KeepAll(), best_by=VAL)
BATCHES = 10


def data(rows=160):
    x, y = load_diabetes(return_X_y=True)
    return torch.tensor(x[:rows], dtype=torch.float32) * 10, torch.tensor(y[:rows, None], dtype=torch.float32) / 100


class Model(lightning.LightningModule):
    """A network with dropout, Adam and a schedule by epoch, so that a resume needs every kind of state."""

    def __init__(self, width=8):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, width), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def test_step(self, batch, index):
        self.log("test_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.02)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]


def loaders(loader=DataLoader, val_size=40):
    x, y = data()
    train, val = TensorDataset(x[:120], y[:120]), TensorDataset(x[120:], y[120:])
    return loader(train, 12, shuffle=True), DataLoader(val, val_size)


def trainer(*callbacks, **settings):
    defaults = dict(max_epochs=3, logger=False, accelerator="cpu", enable_progress_bar=False)
    return lightning.Trainer(callbacks=list(callbacks), enable_model_summary=False, **{**defaults, **settings})


def fit(dirpath, policy=EACH_EPOCH, *, resume=False, extra=(), arguments=None, loader=DataLoader, val_size=40,
        **settings):  # fmt: skip
    """Train; returns the module, the trainer and the callback."""
    lightning.seed_everything(7, verbose=False)
    module, callback = Model(), LightningCheckpoint(dirpath, policy, **(arguments or {}))
    fitter = trainer(*extra, callback, **settings)
    fitter.fit(module, *loaders(loader, val_size), ckpt_path=callback.resume_path() if resume else None)
    return module, fitter, callback


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def digest(module, fitter):
    """SHA-256 over weights and optimizer state."""
    tensors = [*module.state_dict().values()]
    for optimizer in fitter.optimizers:
        for state in optimizer.state_dict()["state"].values():
            tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()
