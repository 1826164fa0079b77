"""Two processes that Lightning starts from this one, with the drop-ins: ``DIRPATH STRATEGY``."""

import json
import os
import sys
from pathlib import Path

import torch
from lightning import seed_everything

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer


class Uploads(ModelCheckpoint):
    """Looks, on one process, for the files that it has just saved."""

    def on_validation_end(self, trainer, module):
        super().on_validation_end(trainer, module)
        self._look(trainer)

    def on_train_epoch_end(self, trainer, module):
        super().on_train_epoch_end(trainer, module)
        self._look(trainer)

    def _look(self, trainer):
        if trainer.is_global_zero and not trainer.sanity_checking:
            assert all(map(os.path.exists, filter(None, (self.best_model_path, self.last_model_path))))


if __name__ == "__main__":
    dirpath, strategy = sys.argv[1:]
    for epochs in (1, 2):
        seed_everything(7, verbose=False)
        callback, module = ModelCheckpoint(dirpath, monitor="val_loss", save_top_k=2, save_last=True), Model()
        others = (
            Uploads(f"{dirpath}/validated", monitor="val_loss", save_on_train_epoch_end=False),
            Uploads(f"{dirpath}/b"),
        )
        fitter = trainer(EarlyStopping("val_loss"), callback, *others, max_epochs=epochs, devices=2, strategy=strategy)
        fitter.fit(module, *loaders(), ckpt_path="last", weights_only=False)
    last = torch.load(Path(dirpath, "last.ckpt"), weights_only=False)
    saved, found = last["state_dict"], module.state_dict()
    facts = {
        "files": sorted(os.path.basename(path) for path in Path(dirpath).glob("*.ckpt")),
        "best": os.path.basename(fitter.checkpoint_callback.best_model_path),
        "steps": last["global_step"],
        "same weights": all(
            torch.equal(last["state_dict"][name], value) for name, value in module.state_dict().items()
        ),
    }
    print(json.dumps(facts))
