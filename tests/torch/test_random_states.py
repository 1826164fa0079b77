"""The states of the random generators."""

import random

import numpy as np
import torch

from ckpt_callbacks.torch.rng import random_state, set_random_state


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_equal_parts_of_states_are_shared_and_others_are_not(tmp_path):
    first = random_state()
    torch.rand(1)
    second = random_state(None, first)
    assert second["python"][1] is first["python"][1] and second["numpy"][0] is first["numpy"][0]
    assert not torch.equal(second["torch"], first["torch"])
    torch.save([first, second], tmp_path / "a.pt")
    expected = draw()
    third = random_state(second, first)
    for state in torch.load(tmp_path / "a.pt")[1], second:
        set_random_state(state)
        assert draw() == expected
    set_random_state(third)
    assert draw() != expected
    assert random_state(third, second, first)["python"][1] is not second["python"][1]
