"""The configuration in a ``.keras`` file, from which `load_model` creates the model. A resume does not need it."""

from __future__ import annotations

import json
import time

import keras

MEMBER = "config.json"


def problem(model: keras.Model) -> Exception | None:
    """Return why Keras cannot write the model's configuration; None if it can.

    For example, it cannot if the model's class takes arguments and has no ``get_config()``.
    """
    try:
        json.dumps(keras.saving.serialize_keras_object(model))
    except Exception as error:  # whatever the user's ``get_config()`` raises
        return error
    return None


def stand_in(model: keras.Model) -> tuple[str, str]:
    """Return the contents of ``config.json`` and ``metadata.json`` for a model for which Keras cannot write them.

    `load_model` refuses them with an error that names the class; `load_weights` ignores them.
    """
    name = f"{type(model).__name__}, whose configuration could not be saved,"
    config: dict[str, object] = {"module": None, "class_name": name, "config": {}, "registered_name": name}
    metadata = {"keras_version": keras.__version__, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}
    return json.dumps(config), json.dumps(metadata)
