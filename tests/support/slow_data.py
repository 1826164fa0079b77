"""A data set whose items take a while; it imports nothing heavy, because processes that are spawned import it."""

import time

import torch
from torch.utils.data import Dataset


class SlowData(Dataset):
    """Rows of ten random numbers.

    Args:
        seconds: The time that a row takes.
    """

    def __init__(self, seconds):
        self._seconds = seconds

    def __len__(self):
        return 400

    def __getitem__(self, index):
        time.sleep(self._seconds)
        row = torch.randn(10)
        return row, row[:1]
