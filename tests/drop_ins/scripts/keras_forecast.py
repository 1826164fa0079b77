"""A forecast of a time series that stops early, keeps its best weights in a file, and loads them at the end."""

import keras
import numpy as np
from keras.callbacks import BackupAndRestore, EarlyStopping, ModelCheckpoint

keras.utils.set_random_seed(4)
series = np.sin(np.arange(400) / 9) + 0.1 * np.random.default_rng(4).normal(size=400)
settings = {"sequence_length": 20, "batch_size": 16}
train = keras.utils.timeseries_dataset_from_array(
    series[:200, None], series[20:220], shuffle=True, seed=4, **settings
).cache()
val = keras.utils.timeseries_dataset_from_array(series[220:380, None], series[240:400], **settings)
inputs = keras.Input((20, 1))
model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.LSTM(8)(inputs)))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
model.fit(
    train, epochs=4, validation_data=val, verbose=0,
    callbacks=[
        EarlyStopping(monitor="val_loss", min_delta=0, patience=5),
        ModelCheckpoint("model_checkpoint.weights.h5", monitor="val_loss", save_weights_only=True, save_best_only=True),
        BackupAndRestore("state"),
    ],
)  # fmt: skip
model.load_weights("model_checkpoint.weights.h5")
