"""Keep the best checkpoints as weights alone, and the last one whole: ``python best_as_weights.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues from the last one.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ckpt_callbacks import Contents, Every, KeepBest, KeepLast, Policy
from ckpt_callbacks.keras import KerasCheckpoint

POLICY = Policy(Every(epochs=1), KeepLast(1) | KeepBest(3, by="val_loss", contents=Contents("weights")))


def main(run_dir, epochs=5):
    keras.utils.set_random_seed(0)  # needed for a bit-identical resume
    x, y = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x / 16, y, test_size=0.3, random_state=0, stratify=y)
    layers = [keras.Input((64,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers, name="digits")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    ckpt = KerasCheckpoint(run_dir, POLICY)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, validation_data=(x_val, y_val), callbacks=[ckpt])

    for record in ckpt.records():
        print(record.file, record.contents, record.size, "bytes", record.metrics)
    best = keras.saving.load_model(ckpt.best().path)  # plain Keras, without this package
    loss = keras.losses.sparse_categorical_crossentropy(y_val, best.predict(x_val, verbose=0))
    print("the best model's loss:", float(keras.ops.mean(loss)))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
