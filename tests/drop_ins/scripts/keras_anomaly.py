"""An autoencoder that finds anomalies: it stops early and keeps its best weights in memory, and is never resumed."""

import keras
import numpy as np
from keras.callbacks import EarlyStopping, ModelCheckpoint

keras.utils.set_random_seed(2)
times = np.arange(512) / 8
normal = (np.sin(times) + 0.05 * np.random.default_rng(2).normal(size=512)).astype("float32")
x = np.lib.stride_tricks.sliding_window_view(normal, 32)[:, :, None]
model = keras.Sequential([
    keras.Input((32, 1)),
    keras.layers.Conv1D(8, 7, padding="same", strides=2, activation="relu"),
    keras.layers.Dropout(0.2),
    keras.layers.Conv1DTranspose(8, 7, padding="same", strides=2, activation="relu"),
    keras.layers.Conv1DTranspose(1, 7, padding="same"),
])  # fmt: skip
model.compile(optimizer="adam", loss="mae")
history = model.fit(
    x, x, epochs=5, batch_size=64, validation_split=0.1, verbose=0,
    callbacks=[
        EarlyStopping(monitor="val_loss", patience=2, mode="min", restore_best_weights=True),
        ModelCheckpoint("ckpt/{epoch:02d}-{val_loss:.2f}.keras"),
    ],
)  # fmt: skip
threshold = np.max(np.mean(np.abs(model.predict(x, verbose=0) - x), axis=1))
