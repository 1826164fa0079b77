"""Loaders of many kinds in resumed runs, and what is logged about those that cannot resume exactly."""

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchdata.stateful_dataloader import StatefulDataLoader

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.errors import ResumeError
from tests.adapters.lightning.crash import Crash
from tests.adapters.lightning.task import data, fit, weights
from tests.support.variants import only_quick


def with_generator(dataset, size, shuffle):
    return DataLoader(dataset, size, shuffle=shuffle, generator=torch.Generator().manual_seed(3))


def with_workers(dataset, size, shuffle):
    return DataLoader(dataset, size, shuffle=shuffle, num_workers=1)


def weighted(dataset, size, shuffle):
    return DataLoader(dataset, size, sampler=WeightedRandomSampler([1.0, 2.0] * (len(dataset) // 2), len(dataset)))


def batch_sampler(dataset, size, shuffle):
    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(3))
    return DataLoader(dataset, batch_sampler=BatchSampler(sampler, size, drop_last=False))


def weighted_batches(dataset, size, shuffle):
    count, generator = len(dataset), torch.Generator().manual_seed(3)
    sampler = WeightedRandomSampler([1.0, 2.0] * (count // 2), count, generator=generator)
    return DataLoader(dataset, batch_sampler=BatchSampler(sampler, size, False))


def subset_batches(dataset, size, shuffle):
    sampler = SubsetRandomSampler(range(len(dataset)), generator=torch.Generator().manual_seed(3))
    return DataLoader(dataset, batch_sampler=BatchSampler(sampler, size, False))


def chunked(dataset, size, shuffle):
    """Return a loader that shuffles chunks: samplers in a sampler, two levels deep."""
    chunks = BatchSampler(RandomSampler(dataset, generator=torch.Generator().manual_seed(3)), 1, drop_last=False)
    return DataLoader(dataset, batch_sampler=Flat(chunks, size, drop_last=False))


class Flat(BatchSampler):
    """A batch sampler of a script, which takes apart what another one returns."""

    def __iter__(self):
        chunk = []
        for indices in self.sampler:
            chunk += indices
            if len(chunk) == self.batch_size:
                yield chunk
                chunk = []


@pytest.mark.slow
@pytest.mark.parametrize(
    "loader",
    only_quick(
        [with_generator, with_workers, weighted, batch_sampler, weighted_batches, subset_batches, chunked],
        with_workers,
        weighted,
        batch_sampler,
    ),
    ids=lambda loader: loader.__name__,
)
def test_plain_loaders_of_other_kinds_resume_exactly_in_mid_epoch(tmp_path, caplog, loader):
    policy = Policy(Every(steps=1), KeepLast(2))
    whole, *_ = fit(tmp_path / "whole", policy, loader=loader)
    for step in (4, 13):
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / f"{step}", policy, loader=loader, extra=[Crash(step)])
        resumed, *_ = fit(tmp_path / f"{step}", policy, loader=loader, resume=True)
        assert torch.equal(weights(whole), weights(resumed)), f"resumed at step {step}"
    assert "may not replay the same batches" not in caplog.text


@pytest.mark.parametrize(
    "loader",
    only_quick([StatefulDataLoader, DataLoader, with_workers], StatefulDataLoader),
    ids=lambda loader: loader.__name__,
)
def test_a_run_that_is_cut_again_and_again_ends_like_the_uninterrupted_one(tmp_path, loader):
    policy = Policy(Every(steps=5) | Every(epochs=1), KeepLast(2))
    whole, *_ = fit(tmp_path / "whole", policy, loader=loader)
    for step in (7, 9, 11, 17, 18, 22):  # resumed in mid-epoch, twice from one file, at an epoch's end, ...
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / "cut", policy, loader=loader, extra=[Crash(step)], resume=True)
    resumed, *_ = fit(tmp_path / "cut", policy, loader=loader, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_sampler_within_a_batch_sampler_is_looked_at(tmp_path, caplog):
    class Other:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __iter__(self):
            yield from range(self.count)

    def unknown(dataset, size, shuffle):
        return DataLoader(dataset, batch_sampler=BatchSampler(Other(len(dataset)), size, False))

    fit(tmp_path, Policy(Every(steps=4), KeepLast(2)), loader=unknown)
    assert "Other may have its own state; expected a StatefulDataLoader" in caplog.text


def test_what_cannot_be_exact_is_logged_once_when_it_is_saved(tmp_path, caplog):
    class Stream(IterableDataset):
        def __iter__(self):
            yield from TensorDataset(*data(120))

    def stream(dataset, size, shuffle):
        return DataLoader(Stream(), size)

    policy = Policy(Every(steps=1), KeepLast(2))
    whole, *_ = fit(tmp_path / "whole", policy, loader=stream)
    said = [message for message in caplog.messages if "may not replay the same batches" in message]
    assert len(said) == 1 and "Stream is an IterableDataset; expected one with a state_dict" in said[0]
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", policy, loader=stream, extra=[Crash(14)])
    resumed, *_ = fit(tmp_path / "cut", policy, loader=stream, resume=True)
    assert torch.equal(weights(whole), weights(resumed)), "this one yields the same again"


def test_an_epoch_that_has_fewer_batches_than_were_trained_is_one_clear_line(tmp_path):
    policy = Policy(Every(steps=1), KeepLast(2))
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, policy, extra=[Crash(8)])
    with pytest.raises(ResumeError, match="after 8 batches of an epoch, but the data has fewer now"):
        fit(tmp_path, policy, resume=True, limit_train_batches=3)
