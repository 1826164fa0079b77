"""Keep the best checkpoints as int8, and the last one whole: ``python best_in_int8.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues from the last one.
"""

import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy, load_weights
from ckpt_callbacks.lightning import LightningCheckpoint

POLICY = Policy(
    Every(epochs=1),
    KeepLast(1) | KeepBest(3, by="val_loss", contents=Contents("weights", dtype="int8")),
)


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))

    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 3e-3)


def main(run_dir, epochs=5):
    lightning.seed_everything(0, verbose=False)  # needed for a bit-identical resume
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    train, val = torch.utils.data.random_split(data, [1200, 597])
    ckpt = LightningCheckpoint(run_dir, POLICY)
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[ckpt], logger=False, accelerator="cpu")
    module, rows = Digits(), DataLoader(val, 597)
    trainer.fit(module, DataLoader(train, 32, shuffle=True), rows, ckpt_path=ckpt.resume_path())

    for record in ckpt.records():
        print(record.file, record.contents, record.reduced.get("dtype"), record.size, "bytes", record.metrics)
        module.load_state_dict(load_weights(record.path))
        found = trainer.validate(module, rows, verbose=False)[0]["val_loss"]
        print("  loss with these weights:", round(found, 4))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
