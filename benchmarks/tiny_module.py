"""A Lightning module whose steps cost next to nothing, to measure what callbacks add to them."""

from __future__ import annotations

import logging
import warnings

import lightning
import torch

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class TinyModule(lightning.LightningModule):
    """A linear layer of three numbers, trained with SGD."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index: int) -> torch.Tensor:
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, index: int) -> None:
        self.log("val_loss", self.layer(batch[0]).square().mean())
        self.log("train_loss", 1.0)  # NonFinite monitors it

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)
