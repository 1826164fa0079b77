"""Keep the best checkpoints as weights in bf16, and the last one whole: ``python best_in_bf16.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues from the last one.
"""

import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

POLICY = Policy(
    Every(epochs=1),
    KeepLast(1) | KeepBest(3, by="val_loss", contents=Contents("weights", dtype="bf16")),
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
    trainer.fit(Digits(), DataLoader(train, 32, shuffle=True), DataLoader(val, 597), ckpt_path=ckpt.resume_path())

    for record in ckpt.records():
        first = next(iter(torch.load(record.path, weights_only=True)["state_dict"].values()))
        print(record.file, record.contents, first.dtype, record.size, "bytes", record.metrics)
    best = Digits.load_from_checkpoint(ckpt.best().path)  # a float32 model, without this package
    print("the best model is", next(best.parameters()).dtype)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
