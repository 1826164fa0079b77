"""Two processes that Lightning starts from this one: ``DIRPATH STRATEGY``. Each fit has a trainer and a callback."""

import json
import sys

import torch
from lightning import seed_everything

from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer

if __name__ == "__main__":
    dirpath, strategy = sys.argv[1:]
    for epochs in (1, 2):
        seed_everything(7, verbose=False)
        callback, module = LightningCheckpoint(dirpath, EACH_EPOCH, resume="auto"), Model()
        fitter = trainer(callback, max_epochs=epochs, devices=2, strategy=strategy)
        fitter.fit(module, *loaders())
    saved = torch.load(callback.final().path, weights_only=True)["state_dict"]
    facts = {
        "steps": [record.step for record in callback.records()],
        "best": callback.best_model_path,
        "trainer": fitter.checkpoint_callback.best_model_path,
        "same weights": all(torch.equal(saved[name], value) for name, value in module.state_dict().items()),
        "tested": bool(trainer(callback).test(module, loaders()[1], ckpt_path="best", verbose=False)),
    }
    print(json.dumps(facts))
