"""A Keras run whose best checkpoint is exported in every format: ``python export_keras.py FOLDER SUFFIX...``.

Prints what ``ckpt export --json`` prints for each suffix, or its error. The inputs and outputs of the model are in
``inputs.npz`` and ``outputs.npz``.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from ckpt_callbacks import open_run
from ckpt_callbacks.keras import KerasCheckpoint
from tests.support.command import ckpt


def build():
    """Return a functional model of two inputs, with what differs between training and use."""
    image, extra = keras.Input((6, 6, 1), name="image"), keras.Input((3,), name="extra")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Concatenate()([keras.layers.Flatten()(x), extra])
    return keras.Model([image, extra], keras.layers.Dense(3, "softmax", name="head")(x))


def main(folder, *suffixes):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    inputs = [random.random((8, 6, 6, 1)).astype("float32"), random.random((8, 3)).astype("float32")]
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy")
    run_dir = folder / "run"
    callback = KerasCheckpoint(run_dir, monitor="loss")
    model.fit(inputs, random.integers(0, 3, 8), batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    best = keras.models.load_model(open_run(run_dir).best().path)
    outputs = keras.ops.convert_to_numpy(best(inputs, training=False))
    np.savez(folder / "inputs.npz", *inputs)
    np.savez(folder / "outputs.npz", outputs)
    np.savez(folder / "weights.npz", **{weight.path: keras.ops.convert_to_numpy(weight) for weight in best.weights})
    for suffix in suffixes:
        done = ckpt("export", run_dir, "best", "--to", folder / f"model{suffix}", "--json")
        print(suffix, done.exit_code, (done.stdout or done.stderr).strip())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
