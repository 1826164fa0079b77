"""A small convolutional network for digits, with the best model in a file and a backup of each epoch."""

import keras
from keras import layers
from keras.callbacks import BackupAndRestore, ModelCheckpoint
from sklearn.datasets import load_digits

keras.utils.set_random_seed(812)
found = load_digits()
x, y = found.images[:320, ..., None].astype("float32") / 16, keras.utils.to_categorical(found.target[:320], 10)
model = keras.Sequential([
    keras.Input((8, 8, 1)),
    layers.Conv2D(8, 3, activation="relu"),
    layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(10, activation="softmax"),
])  # fmt: skip
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(
    x, y, batch_size=32, epochs=4, validation_split=0.2, verbose=0,
    callbacks=[
        BackupAndRestore("backup"),
        ModelCheckpoint("models/best-{epoch:02d}.keras", monitor="val_accuracy", save_best_only=True),
    ],
)  # fmt: skip
