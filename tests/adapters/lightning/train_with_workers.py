"""A script whose data comes from processes: ``DIRPATH START_METHOD KIND SLOW``. It leads a process group.

The processes are ``new`` in each epoch, ``persistent``, or started ``earlier`` than training; with ``none``, a program
prepares each row. Either the ``data`` or
the ``training`` is SLOW, so that one waits for the other.
"""

import sys

if __name__ == "__main__":
    import logging
    import os
    import subprocess
    import time

    from lightning.pytorch.callbacks import Callback
    from torch.utils.data import DataLoader

    from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
    from tests.adapters.lightning.task import fit
    from tests.support.slow_data import SlowData

    os.setpgid(0, 0)
    logging.getLogger("ckpt_callbacks").addHandler(logging.StreamHandler(sys.stdout))
    dirpath, method, kind, slow = sys.argv[1:]

    class Tells(Callback):
        def on_train_batch_end(self, trainer, *_):
            print("step", trainer.global_step, flush=True)
            time.sleep(0.1 * (slow == "training"))

    class Programs(SlowData):
        def __getitem__(self, index):
            subprocess.run(["sleep", "0.1"], check=True)
            return super().__getitem__(index)

    def loader(*_, **__):
        if kind == "none":
            return DataLoader(Programs(0), 2)
        data = SlowData(0.1 * (slow == "data"))
        made = DataLoader(data, 2, num_workers=2, multiprocessing_context=method, persistent_workers=kind != "new")
        if kind == "earlier":
            iter(made)  # its processes start before the callback can protect them
        return made

    policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
    fit(dirpath, policy, loader=loader, extra=[Tells()], num_sanity_val_steps=0, limit_val_batches=0)
