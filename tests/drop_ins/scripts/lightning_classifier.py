"""A convolutional classifier of digits that stops early and is tested with its best checkpoint."""

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Digits(L.LightningDataModule):
    def setup(self, stage):
        found = load_digits()
        images = torch.tensor(found.images[:400] / 16, dtype=torch.float32).unsqueeze(1)
        labels = torch.tensor(found.target[:400])
        self.parts = [TensorDataset(images[a:b], labels[a:b]) for a, b in ((0, 240), (240, 320), (320, 400))]

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=24, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=80)

    def test_dataloader(self):
        return DataLoader(self.parts[2], batch_size=80)


class Classifier(L.LightningModule):
    def __init__(self, width=8, lr=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Dropout(0.25),
            nn.Linear(36 * width, 10),
        )  # fmt: skip

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def evaluate(self, batch, stage):
        scores = self.net(batch[0])
        self.log(f"{stage}/loss", nn.functional.cross_entropy(scores, batch[1]), prog_bar=True)
        self.log(f"{stage}/acc", (scores.argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def validation_step(self, batch, batch_idx):
        self.evaluate(batch, "val")

    def test_step(self, batch, batch_idx):
        self.evaluate(batch, "test")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)]


L.seed_everything(1)
data, model = Digits(), Classifier()
best = ModelCheckpoint(
    "logs/checkpoints", "best-{epoch:02d}-{val/acc:.3f}", monitor="val/acc", mode="max", save_top_k=2, save_last=True,
    auto_insert_metric_name=False,
)  # fmt: skip
trainer = L.Trainer(
    max_epochs=6, callbacks=[EarlyStopping("val/loss", patience=3), best], accelerator="cpu", logger=False,
    enable_progress_bar=False,
)  # fmt: skip
trainer.fit(model, datamodule=data, ckpt_path="last")
print(trainer.test(ckpt_path="best", datamodule=data, verbose=False, weights_only=False))
model = Classifier.load_from_checkpoint(best.best_model_path, weights_only=False)
