"""Train on scikit-learn's digits with Keras: ``python train_keras.py RUN_DIR [EPOCHS]``.

Run the same command again after an interruption, and training continues.
"""

import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ckpt_callbacks.keras import KerasCheckpoint

# Show the messages of ckpt_callbacks, and only warnings from everything else.
logging.basicConfig(format="%(message)s", level=logging.WARNING)
logging.getLogger("ckpt_callbacks").setLevel(logging.INFO)


def main(run_dir, epochs=60):
    keras.utils.set_random_seed(0)  # needed for a bit-identical resume
    x, y = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x / 16, y, test_size=0.3, random_state=0, stratify=y)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(10, "softmax")], name="Digits"
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    ckpt = KerasCheckpoint.from_yaml(Path(__file__).with_name("ckpt.yaml"), dirpath=run_dir)
    # fit() resumes from the newest checkpoint in run_dir that passes verification.
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, validation_data=(x_val, y_val), callbacks=[ckpt])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
