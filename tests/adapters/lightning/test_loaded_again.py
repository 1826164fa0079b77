"""The progress of a resume that loads the trained batches of an epoch again."""

import time

import pytest
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from ckpt_callbacks.lightning.loaded_again import loaded_again
from tests.adapters.lightning.task import fit
from tests.adapters.lightning.test_resuming_data import At, terminate


def said(caplog, seconds, batches=60):
    """Return what is logged if each batch takes this long."""
    at = [0.0]
    for _ in loaded_again(batches, now=lambda: at[0]):
        at[0] += seconds
    return [message.partition(": ")[2].partition(";")[0] for message in caplog.messages]


def test_nothing_is_logged_about_fast_data(caplog):
    assert said(caplog, 0.01) == []


def test_the_progress_of_slow_data_is_logged(caplog):
    assert said(caplog, 0.25) == ["4 done in 1 s, about 14 s left", "44 done in 11 s, about 4 s left"]


def test_one_slow_batch_is_logged(caplog):
    assert said(caplog, 7.0, batches=2) == ["1 done in 7 s, about 7 s left"]


class Slow(Dataset):
    """Takes 0.15 seconds for a batch."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        time.sleep(0.15 / 12)
        return self.dataset[index]


class SlowStream(Slow, IterableDataset):
    """Has no length."""

    __len__ = None

    def __iter__(self):
        return (self[index] for index in range(len(self.dataset)))


def slowly(dataset, size, shuffle):
    return DataLoader(Slow(dataset), size, shuffle=shuffle)


def slowly_by_a_worker(dataset, size, shuffle):
    return DataLoader(Slow(dataset), size, shuffle=shuffle, num_workers=1)


def as_a_slow_stream(dataset, size, shuffle):
    return DataLoader(SlowStream(dataset), size)


@pytest.mark.slow
@pytest.mark.parametrize("loader", [slowly, slowly_by_a_worker, as_a_slow_stream])
def test_a_resume_of_slow_data_says_so(tmp_path, loader, caplog):
    settings = {"policy": Policy(Every(epochs=1) | OnPreempt(), KeepAll()), "loader": loader, "max_epochs": 2}
    with pytest.raises(SystemExit):
        fit(tmp_path, extra=[At("on_train_batch_end", 19, terminate)], **settings)
    assert "loading again" not in caplog.text
    fit(tmp_path, resume=True, **settings)
    # How many lines there are depends on the speed of the machine.
    assert "loading again the 9 batches trained on in this epoch before the checkpoint" in caplog.text
