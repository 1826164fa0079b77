"""The random generators' states, in types that `torch.load(weights_only=True)` reads back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def rng_states(world_size: int) -> list[dict[str, Any]]:
    """The state of each process's generators, by rank. All processes call it together."""
    mine = _rng_state()
    if world_size == 1:
        return [mine]
    states: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(states, mine)
    return states


def set_rng_state(states: list[dict[str, Any]], rank: int) -> bool:
    """Put this process's generators back; False where there is no state for it, because there were fewer processes."""
    if rank >= len(states):
        return False
    _set_rng_state(states[rank])
    return True


def _rng_state() -> dict[str, Any]:
    """States of the python, numpy, torch and CUDA generators of this process."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [torch.tensor(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_rng_state(state: dict[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
