"""Torch checkpoints of a few lines, and files of sample inputs."""

import numpy as np
import torch


def saved(path, module):
    """Save a module as a plain loop does, and return the file."""
    torch.save({"state_dict": module.state_dict()}, path)
    return path


def left(folder):
    return sorted(path.name for path in folder.iterdir())


class Two(torch.nn.Module):
    """A module of two inputs and three outputs, without sample inputs."""

    def __init__(self):
        super().__init__()
        self.table, self.last = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 2)

    def forward(self, words, weight):
        mean = (self.table(words) * weight[:, :, None]).mean(1)
        return {"logits": self.last(mean), "parts": [mean, mean.sum(1)]}


def save_two(folder):
    """Save a `Two` and return the file."""
    torch.manual_seed(1)
    return saved(folder / "two.ckpt", Two())


def arrays(tmp_path, **named):
    np.savez(tmp_path / "inputs.npz", **named)
    return tmp_path / "inputs.npz"


WORDS, WEIGHT = np.array([[0, 1, 4], [2, 3, 0]]), np.array([[1.0, 0.5, 2.0], [0.1, 1.0, 1.0]])
