"""Send checkpoints to a bucket, and continue on an empty machine: ``python mirror.py RUN_DIR URL [EPOCHS]``.

The URL may be ``s3://bucket/run``, that of any other store, or the path of another disk. Delete RUN_DIR, run the same
command again with more epochs, and training continues from the newest checkpoint of the mirror. For a local server,
set ``AWS_ENDPOINT_URL`` (and ``AWS_ALLOW_HTTP=true`` if it has no certificate).
"""

import hashlib
import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Every, KeepBest, KeepLast, Metric, Mirror, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

VAL = Metric("val_loss", mode="min")
POLICY = Policy(Every(epochs=1), KeepLast(2) | KeepBest(1, by=VAL))


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def main(run_dir, url, epochs=4):
    lightning.seed_everything(0, verbose=False)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y))
    train, val = torch.utils.data.random_split(data, [1400, len(data) - 1400])

    ckpt = LightningCheckpoint(run_dir, POLICY, mirrors=Mirror(url, keep=KeepLast(1) | KeepBest(1, by=VAL)))
    model = Digits()
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[ckpt], accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader(train, 64, shuffle=True), DataLoader(val, 512), ckpt_path=ckpt.resume_path())

    for record in ckpt.records():
        print(record.file, record.metrics)
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    print("weights", hashlib.sha256(weights).hexdigest())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
