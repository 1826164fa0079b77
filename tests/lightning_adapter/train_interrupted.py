"""A slow training that wants a last save: ``DIRPATH [validate]``; says on standard output where it is."""

import sys
import time

from lightning.pytorch.callbacks import Callback
from lightning_adapter.task import fit
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy

dirpath, pause = sys.argv[1], float(sys.argv[2])


class Slow(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        print("step", trainer.global_step, flush=True)
        time.sleep(pause)

    def on_validation_batch_start(self, trainer, *_):
        print("validation", trainer.global_step, flush=True)
        time.sleep(pause)


module, trainer, callback = fit(
    dirpath, Policy(Every(epochs=1) | OnPreempt(), KeepAll()), resume=True, extra=[Slow()], max_epochs=3,
    loader=StatefulDataLoader, num_sanity_val_steps=0,
)  # fmt: skip
print("weights", sum(float(p.double().sum()) for p in module.parameters()))
