"""A script whose data comes from two processes or threads, or from programs: ``DIRPATH KIND``.

It leads a process group. The programs prepare the data of training, or with ``programs for a validation`` of those.
"""

import logging
import os
import subprocess
import sys
import time

import keras
import numpy as np

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.task import checkpoint, quick, updates

VALIDATES = "programs for a validation"
dirpath, kind = sys.argv[1:]


class SlowData(keras.utils.PyDataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        time.sleep(0.2)
        return np.ones((4, 64), "float32"), np.ones(4)


class Programs(SlowData):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        subprocess.run(["sleep", "0.4"], check=True)
        return np.ones((4, 64), "float32"), np.ones(4)


class Tells(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if kind != VALIDATES:
            print("step", updates(self.model), flush=True)

    def on_test_batch_begin(self, batch, logs=None):
        print("step", batch + 2, flush=True)


os.setpgid(0, 0)
logging.getLogger("ckpt_callbacks").addHandler(logging.StreamHandler(sys.stdout))
data = SlowData(workers=2, use_multiprocessing=kind == "processes")
if kind == "programs":
    data = Programs()
elif kind == VALIDATES:
    data = np.ones((16, 64), "float32")
fed = {} if kind != VALIDATES else {"y": np.ones(16), "batch_size": 4, "validation_data": Programs()}
policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
quick().fit(data, callbacks=[Tells(), checkpoint(dirpath, policy)], verbose=0, **fed)
