"""The curve in a real `Trainer.fit`: ``python play_lightning.py DIRPATH [drop]``."""

import logging
import sys
import warnings

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks.lightning import LightningCheckpoint
from tests.system.contract.expected import BATCHES, CURVE
from tests.system.contract.play import POLICY, fail_every_second_time, report

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("ckpt_callbacks").addHandler(handler)
logging.getLogger("ckpt_callbacks").setLevel("INFO")


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, index):
        self.log("val_score", torch.tensor(CURVE[self.current_epoch], dtype=torch.float64))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


dirpath, drop = sys.argv[1], "drop" in sys.argv[2:]
if drop:
    fail_every_second_time()
callback = LightningCheckpoint(
    dirpath, POLICY, background=not drop
)  # in the foreground, a failure is known before the next step
trainer = lightning.Trainer(
    max_epochs=len(CURVE), callbacks=[callback], logger=False, accelerator="cpu",
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
data = TensorDataset(torch.ones(BATCHES, 2))
trainer.fit(Model(), DataLoader(data), DataLoader(TensorDataset(torch.ones(1, 2))))
report(callback, trainer.current_epoch, messages)
