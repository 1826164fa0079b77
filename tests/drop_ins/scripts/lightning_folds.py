"""A cross-validation with a trainer and a directory for each fold, and the mean of the best scores."""

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold
from torch.utils.data import DataLoader, TensorDataset


class Linear(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(10, 1)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


x, y = load_diabetes(return_X_y=True)
data = TensorDataset(torch.tensor(x, dtype=torch.float32) * 10, torch.tensor(y, dtype=torch.float32)[:, None] / 100)
scores, paths = [], []
for fold, (train, val) in enumerate(KFold(3).split(x)):
    L.seed_everything(fold)
    model = Linear()
    best = ModelCheckpoint(f"folds/{fold}", "{epoch}-{val_loss:.3f}", monitor="val_loss")
    trainer = L.Trainer(
        max_epochs=4, callbacks=[best, EarlyStopping("val_loss", min_delta=0.01, patience=1)], accelerator="cpu",
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    parts = [torch.utils.data.Subset(data, part.tolist()) for part in (train, val)]
    trainer.fit(model, DataLoader(parts[0], 64, shuffle=True), DataLoader(parts[1], 200))
    scores.append(best.best_model_score.item())
    paths.append(best.best_model_path)
states = [torch.load(path, weights_only=False)["state_dict"] for path in paths]
model.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
print("mean of the best:", sum(scores) / len(scores))
