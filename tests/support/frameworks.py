"""The frameworks that the scripts of the tests import, without this package; a process with them is forked for each."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import lightning
import sklearn.datasets

__all__ = ["keras", "lightning", "sklearn"]
