"""The states of the random generators that Keras uses but does not own, as plain arrays."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import global_seed_generator
from keras.src.utils.rng_utils import get_random_seed

_KERAS_GENERATOR = "global_seed_generator"  # the attribute that it sets; 3.12 has no constant for its name


def script_seed() -> int | None:
    """Return the seed that the script passed to `keras.utils.set_random_seed`; None if it did not."""
    return get_random_seed()


def random_state() -> dict[str, np.ndarray]:
    """Return the states of the python and numpy generators, of torch's if torch is loaded, and of Keras' if it exists.

    `keras.random` draws from Keras' generator when it gets no seed.

    TensorFlow and JAX draw from seeds that are in the model's variables, or that the script has set.
    """
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": np.array(words, dtype=np.uint32),
        "python_rest": np.array([version, gauss is not None, gauss or 0.0], dtype=np.float64),
        "numpy": np.array(keys, dtype=np.uint32),
        "numpy_rest": np.array([position, has_gauss, cached], dtype=np.float64),
    }
    if (generator := global_state.get_global_attribute(_KERAS_GENERATOR)) is not None:
        state["keras"] = np.array(keras.ops.convert_to_numpy(generator.state))
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_available():
            state |= {f"cuda:{i}": s.numpy() for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: Mapping[str, np.ndarray]) -> None:
    """Set the generators to the states that `random_state` returned."""
    if "keras" in state:  # first, because Keras' generator draws from python's when it is created
        global_seed_generator().state.assign(state["keras"])
    version, has_gauss, gauss = state["python_rest"].tolist()
    random.setstate((int(version), tuple(state["python"].tolist()), gauss if has_gauss else None))
    position, has_gauss, cached = state["numpy_rest"].tolist()
    np.random.set_state(("MT19937", state["numpy"], int(position), int(has_gauss), cached))
    if "torch" in state and (torch := sys.modules.get("torch")):
        torch.set_rng_state(torch.from_numpy(state["torch"]))
        for device in range(torch.cuda.device_count()):
            if (name := f"cuda:{device}") in state:
                torch.cuda.set_rng_state(torch.from_numpy(state[name]), device)
