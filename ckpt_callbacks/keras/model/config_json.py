"""The configuration in a ``.keras`` file: `load_model` makes the model anew from it, and a resume does without it."""

from __future__ import annotations

import json
import time

import keras

MEMBER = "config.json"


def problem(model: keras.Model) -> Exception | None:
    """Why Keras cannot write the model's configuration: its class takes arguments, say, and has no ``get_config()``."""
    try:
        json.dumps(keras.saving.serialize_keras_object(model))
    except Exception as error:  # whatever a ``get_config()`` of the user's raises
        return error
    return None


def stand_in(model: keras.Model) -> tuple[str, str]:
    """``config.json`` and ``metadata.json`` in place of those that Keras cannot write.

    `load_model` refuses them with an error that names the class; `load_weights` does not look at them.
    """
    name = f"{type(model).__name__}, whose configuration could not be saved,"
    config = {"module": None, "class_name": name, "config": {}, "registered_name": name}
    metadata = {"keras_version": keras.__version__, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}
    return json.dumps(config), json.dumps(metadata)
