"""The states of the random generators, in types that `torch.load(weights_only=True)` reads back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

RandomState = dict[str, Any]


def random_state(*earlier: RandomState | None) -> RandomState:
    """Return the states of the Python, numpy, torch and CUDA generators of this process.

    Args:
        earlier: States that go into the same file. Tensors that equal theirs are theirs, so that the file holds them
            only once: many training loops use only torch's generator.
    """
    known = [state for state in earlier if state is not None]
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    python = torch.from_numpy(np.array(words, np.int64))  # torch takes five times as long
    numpy = torch.from_numpy(keys.astype(np.int64))
    return {
        "python": [version, _shared(python, [state["python"][1] for state in known]), gauss],
        "numpy": [_shared(numpy, [state["numpy"][0] for state in known]), int(position), int(has_gauss), float(cached)],
        "torch": _shared(torch.get_rng_state(), [state["torch"] for state in known]),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _shared(words: torch.Tensor, known: list[torch.Tensor]) -> torch.Tensor:
    """Return the first tensor that equals ``words``, which may be ``words`` itself."""
    return next((one for one in known if one.dtype == words.dtype and torch.equal(one, words)), words)


def set_random_state(state: RandomState) -> None:
    """Set this process's generators to the states that `random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
