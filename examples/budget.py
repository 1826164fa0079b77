"""Keep a run's checkpoints within a budget, the best ones as weights: ``python budget.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues from the newest checkpoint.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from sklearn.datasets import load_digits

from ckpt_callbacks import Every, KeepBest, KeepLast, Policy
from ckpt_callbacks.keras import KerasCheckpoint

# Full files take 280 kB, and weights alone 100 kB, so that the rules alone would keep 1.5 MB.
POLICY = Policy(Every(epochs=1), KeepLast(2) | KeepBest(10, by="val_loss", contents="weights"))
BUDGET = "1.2 MB"  # a new full file has to fit beside the others before its predecessor is reduced


def main(run_dir, epochs=12):
    keras.utils.set_random_seed(0)  # needed for a bit-identical resume
    x, y = load_digits(return_X_y=True)
    model = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    ckpt = KerasCheckpoint(run_dir, POLICY, max_total_size=BUDGET)
    model.fit(x / 16, y, validation_split=0.3, epochs=epochs, verbose=0, callbacks=[ckpt])

    records = ckpt.records()
    for record in records:
        print(record.file, record.contents, record.size, "bytes", record.metrics)
    print("together", sum(record.size for record in records), "bytes of", BUDGET)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
