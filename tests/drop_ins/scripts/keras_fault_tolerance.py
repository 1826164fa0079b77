"""A regression whose state is backed up each few batches, so that a job that is preempted loses little."""

import keras
from keras.callbacks import BackupAndRestore
from sklearn.datasets import load_diabetes

keras.utils.set_random_seed(7)
x, y = load_diabetes(return_X_y=True)
model = keras.Sequential([
    keras.Input((10,)),
    keras.layers.Normalization(),
    keras.layers.Dense(16, activation="relu"),
    keras.layers.GaussianNoise(0.1),
    keras.layers.Dense(1),
])  # fmt: skip
model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), loss="mse", metrics=["mae"])
model.fit(
    x * 10, y / 100, batch_size=20, epochs=3, shuffle=True, verbose=0,
    callbacks=[BackupAndRestore("tmp/backup", save_freq=4, double_checkpoint=True)],
)  # fmt: skip
