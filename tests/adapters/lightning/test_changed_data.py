"""Runs that are resumed in mid-epoch with different batches: no sample is left out, and one line says what happens."""

from collections import Counter

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.callbacks import Callback
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepLast, OnPreempt, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import Model, data, digest, trainer
from tests.adapters.lightning.test_resuming_data import At, terminate

pytestmark = pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined")
ROWS, SIZE, STEP = 32, 4, 13  # 8 batches an epoch; batch 5 of the second epoch is the last that is trained
ONCE = dict.fromkeys(range(ROWS), 1)


class Seen(Callback):
    """Notes the samples of each epoch."""

    def __init__(self):
        self.samples = {}

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.samples.setdefault(trainer.current_epoch, []).extend(batch[2].tolist())


def dataset(rows=ROWS):
    return TensorDataset(*data(rows), torch.arange(rows))


class Stream(IterableDataset):
    """A stream that knows its position."""

    def __init__(self):
        self.data, self.at = dataset(), 0

    def __len__(self):
        return ROWS

    def __iter__(self):
        self.at %= ROWS
        while self.at < ROWS:
            self.at += 1
            yield self.data[self.at - 1]

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Buckets(BatchSampler):
    """A batch sampler that does not report the sizes of its batches."""

    def __init__(self, size):
        self.groups = [list(range(start, min(start + size, ROWS))) for start in range(0, ROWS, size)]

    def __iter__(self):
        return iter(self.groups)

    def __len__(self):
        return len(self.groups)


def plain(size=SIZE, rows=ROWS, **settings):
    return DataLoader(dataset(rows), size, **{"shuffle": True, **settings})


def batched(size=SIZE):
    return DataLoader(dataset(), batch_sampler=BatchSampler(RandomSampler(range(ROWS)), size, drop_last=False))


def stateful(size=SIZE, rows=ROWS, **settings):
    return StatefulDataLoader(dataset(rows), size, shuffle=True, **settings)


def train(dirpath, loader, *extra, resume=False, rule=Every(steps=1), **settings):
    seed_everything(7, verbose=False)
    module, seen, callback = Model(), Seen(), LightningCheckpoint(dirpath, Policy(rule, KeepLast(2)))
    fitter = trainer(seen, *extra, callback, **{"num_sanity_val_steps": 0, **settings})
    val = DataLoader(TensorDataset(*data(40)), 10)
    try:
        fitter.fit(module, loader, val, ckpt_path=callback.resume_path() if resume else None)
    except (ZeroDivisionError, SystemExit):
        assert not resume
    return seen.samples, digest(module, fitter)


def resumed(dirpath, before, after, *cut, **settings):
    """Interrupt a run in its second epoch, and resume it; return what both parts have trained of that epoch."""
    first, _ = train(dirpath, before, *cut or [Crash(STEP)], **settings)
    second, _ = train(dirpath, after, resume=True, **settings)
    assert set(second) == {1, 2}
    return first[1], second[1], second[2]


@pytest.mark.parametrize(
    "after, again", [(8, 4), (2, 0), pytest.param(3, 2, marks=pytest.mark.slow)], ids=["larger", "smaller", "odd"]
)
@pytest.mark.parametrize("make", [plain, batched], ids=["plain", "batch sampler"])
def test_an_epoch_continues_after_the_samples_that_were_trained(tmp_path, caplog, make, after, again):
    first, second, third = resumed(tmp_path, plain(), make(after))
    assert (len(first), Counter(third)) == (20, ONCE)
    assert set(first + second) == set(ONCE) and len(first) + len(second) == ROWS + again
    said = f"after 5 batches of an epoch, but a batch has {after} samples now, and had 4: the epoch continues after"
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize("after", [8, 2])
def test_a_stream_that_knows_its_position_continues_there(tmp_path, caplog, after):
    first, second, third = resumed(tmp_path, StatefulDataLoader(Stream(), SIZE), StatefulDataLoader(Stream(), after))
    assert Counter(first + second) == Counter(third) == ONCE
    assert caplog.text.count("the epoch continues after") == 1


OTHERS = {
    "more data": (plain(), lambda: plain(rows=48), "the data has 48 samples now, and had 32"),
    "less data": (plain(), lambda: plain(rows=16), "the data has 16 samples now, and had 32"),
    "order": (
        plain(), lambda: plain(shuffle=False), "the order comes from SequentialSampler now, and came from RandomSampler"
    ),
    "unknown size": (
        DataLoader(dataset(), batch_sampler=Buckets(4)), lambda: DataLoader(dataset(), batch_sampler=Buckets(8)),
        "an epoch has 4 batches now, and had 8",
    ),
    "stateful": (stateful(), lambda: stateful(8), "a batch has 8 samples now, and had 4"),
    "stateful, more data": (stateful(), lambda: stateful(rows=48), "the data has 48 samples now, and had 32"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_an_epoch_begins_again_if_nothing_tells_what_was_trained(tmp_path, caplog, case):
    before, after, why = OTHERS[case]
    _, second, third = resumed(tmp_path, before, after())
    assert Counter(second) == Counter(third) and set(Counter(second).values()) == {1}
    assert caplog.text.count(f"after 5 batches of an epoch, but {why}: that epoch begins again") == 1


@pytest.mark.slow
@pytest.mark.parametrize("hook, nth", [("on_validation_batch_start", 10), ("on_train_batch_end", 13)])
def test_a_signal_in_or_before_a_validation_in_mid_epoch(tmp_path, caplog, hook, nth):
    signal = At(hook, nth, terminate)
    _, second, third = resumed(tmp_path, plain(), plain(2), signal, rule=OnPreempt(), val_check_interval=4)
    assert "the epoch continues after" in caplog.text
    assert Counter(third) == ONCE and set(Counter(second).values()) == {1}


def test_at_an_epochs_end_and_in_the_validation_there_nothing_depends_on_the_batches(tmp_path, caplog):
    train(tmp_path, plain(), At("on_validation_batch_start", 6, terminate), rule=OnPreempt())
    second, _ = train(tmp_path, plain(8), resume=True, rule=OnPreempt())
    assert set(second) == {2} and Counter(second[2]) == ONCE
    assert "batches of an epoch, but" not in caplog.text


def test_other_workers_change_nothing(tmp_path, caplog):
    _, whole = train(tmp_path / "whole", plain())
    train(tmp_path / "cut", plain(), Crash(STEP))
    assert train(tmp_path / "cut", plain(num_workers=1), resume=True)[1] == whole
    assert "batches of an epoch, but" not in caplog.text


@pytest.mark.parametrize("before, after", [(0, 1), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_other_workers_of_a_stateful_loader_are_one_clear_line(tmp_path, caplog, before, after):
    train(tmp_path, stateful(num_workers=before), Crash(STEP))
    with pytest.raises((AssertionError, RuntimeError)):  # torchdata's, or Lightning's that comes of it
        train(tmp_path, stateful(num_workers=after), resume=True)
    assert caplog.text.count("with the same num_workers") == 1
