"""Two processes that Lightning starts from this one, with the drop-ins: ``DIRPATH STRATEGY``."""

import json
import os
import sys
from pathlib import Path

import torch
from lightning import seed_everything

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer

if __name__ == "__main__":
    dirpath, strategy = sys.argv[1:]
    for epochs in (1, 2):
        seed_everything(7, verbose=False)
        callback, module = ModelCheckpoint(dirpath, monitor="val_loss", save_top_k=2, save_last=True), Model()
        fitter = trainer(EarlyStopping("val_loss"), callback, max_epochs=epochs, devices=2, strategy=strategy)
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
