"""A script whose data comes from two processes or threads: ``DIRPATH KIND``. It leads a process group."""

import logging
import os
import sys
import time

import keras
import numpy as np

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.task import checkpoint, quick, updates

dirpath, kind = sys.argv[1:]


class SlowData(keras.utils.PyDataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        time.sleep(0.2)
        return np.ones((4, 64), "float32"), np.ones(4)


class Tells(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("step", updates(self.model), flush=True)


os.setpgid(0, 0)
logging.getLogger("ckpt_callbacks").addHandler(logging.StreamHandler(sys.stdout))
data = SlowData(workers=2, use_multiprocessing=kind == "processes")
policy = Policy(Every(epochs=1) | OnPreempt(), KeepAll())
quick().fit(data, callbacks=[Tells(), checkpoint(dirpath, policy)], verbose=0)
