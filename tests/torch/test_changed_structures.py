"""Models that change between two saves: each file holds the state at its save, and plain torch reads it."""

import copy
import itertools
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.formats.torch.checkpoint_pickler import CheckpointPickler, PickledParts
from ckpt_callbacks.formats.torch.tensor_facts import _can_check
from ckpt_callbacks.torch.staging import TorchStaging
from tests.formats.test_torch_file import equal

_names = itertools.count()


class Training:
    """A small model with its optimizer, which is changed in many ways."""

    def __init__(self):
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 200))
        self.optimizers = [torch.optim.AdamW(self.model.parameters(), 0.1)]
        self.more = {}

    def checkpoint(self):
        return {
            "epoch": 3, **self.more, "state_dict": self.model.state_dict(),
            "optimizer_states": [optimizer.state_dict() for optimizer in self.optimizers], "note": "ä\0",
        }  # fmt: skip

    def step(self):
        for parameter in self.model.parameters():
            parameter.grad = torch.randn_like(parameter)
        for optimizer in self.optimizers:
            optimizer.step()

    def add_layer(self):
        self.model.add_module(f"layer{next(_names)}", torch.nn.Linear(150, 150))  # large and small storages

    def add_group(self):
        self.add_layer()
        self.optimizers[0].add_param_group({"params": list(self.model[-1].parameters()), "lr": 0.5})

    def add_optimizer(self):
        self.optimizers.append(torch.optim.SGD(self.model[0].parameters(), 0.1, momentum=0.9))

    def add_buffer(self):
        self.model.register_buffer(f"buffer{next(_names)}", torch.arange(7, dtype=torch.int16))

    def reallocate(self):
        self.model[0].weight.data = torch.randn(4, 3)

    def transpose(self):
        self.model[0].weight.data = torch.randn(3, 4).t()

    def view_a_part(self):
        self.model[1].running_mean = torch.randn(30)[5:9]

    def shift_the_view(self):
        mean = self.model[1].running_mean
        if mean.untyped_storage().nbytes() > mean.nbytes:
            self.model[1].running_mean = mean.as_strided((4,), (1,), mean.storage_offset() + 1)

    def tie(self):
        self.model.tied = torch.nn.Linear(3, 4)
        self.model.tied.weight = self.model[0].weight

    def untie(self):
        if hasattr(self.model, "tied"):
            self.model.tied.weight = torch.nn.Parameter(self.model[0].weight.detach().clone())

    def share_as_another_type(self):
        self.model.register_buffer("bits", self.model[0].weight.detach().view(torch.int32))

    def convert(self):
        self.model[1].running_var = self.model[1].running_var.to(torch.float64)

    def keep_another_state(self):
        self.model.set_extra_state = lambda state: None
        self.model.get_extra_state = lambda: {"calls": 3}

    def keep_no_other_state(self):
        self.model.get_extra_state = lambda: torch.ones(2)

    def name_by_numbers(self):
        for state in self.optimizers[0].state.values():
            state[5] = torch.ones(3)

    def be_complex(self):
        self.model.register_buffer("phase", torch.randn(3, dtype=torch.complex64).conj())

    def keep_a_sparse_one(self):
        self.model.register_buffer("sparse", torch.eye(3).to_sparse())

    def count_in_numbers(self):
        for state in self.optimizers[0].state.values():
            state["count"] = state.get("count", 2**40) + 1
            state["rate"], state["on"], state["none"] = 0.5 * state["count"], True, None

    def keep_a_list(self):
        for state in self.optimizers[0].state.values():
            state["history"] = [torch.ones(2), 1]

    def share_elsewhere(self):
        self.more["average"] = {"weight": self.model[0].weight.detach(), "own": torch.randn(70_000)}

    def share_elsewhere_as_another_type(self):
        self.more["bits"] = [part.weight.detach().view(torch.int32) for part in (self.model[0], self.model[-1])]

    def flatten(self):
        parameters, end = list(self.model.parameters()), 0
        block = torch.cat([parameter.detach().flatten() for parameter in parameters])
        for parameter in parameters:
            parameter.data, end = block[end : end + parameter.numel()].view(parameter.shape), end + parameter.numel()

    def remove_layer(self):
        if len(self.model) > 3:
            del self.model[-1]

    def loop(self):
        shared = [1, 2.5, None, True, "ä", (1, 2), {"epoch": 3}, 2**70, b"bytes"]
        self.more["loops"] = {"state": shared, "again": shared, "set": {1}}

    def loop_with_tensors(self):
        self.more["loops"] = {"sums": torch.ones(3), "weight": self.model[0].weight.detach()}

    def keep_plain_values(self):
        self.more["ckpt_callbacks"] = {"record": {"id": 1, "metrics": {"val_loss": 0.5}}}

    def empty(self):
        self.model.register_buffer("empty", torch.empty(0, 3))

    def forget(self):
        self.optimizers[0].state.clear()

    def mark(self):
        for state in self.optimizers[0].state.values():
            next(iter(state.values())).origin = "here"

    def version(self):
        self.model[1]._version = 5

    def change_numbers(self):
        with torch.no_grad():
            for tensor in [*self.model.parameters(), *self.model.buffers()]:
                if tensor.layout == torch.strided:
                    tensor.add_(1)


CHANGES = [name for name in vars(Training) if name[0] != "_" and name != "checkpoint"]


def tensors(value):
    """The tensors in nested dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in inner for tensor in tensors(item)]


def layout(tensor):
    """What `equal` does not compare."""
    return tensor.layout == torch.strided and (tensor.stride(), tensor.storage_offset(), vars(tensor))


def save(training, staging, path):
    """Save; change all numbers at once, and compare the file with what they were."""
    expected, metadata = copy.deepcopy(training.checkpoint()), training.model.state_dict()._metadata
    snapshot = staging.stage(training.checkpoint())
    assert not snapshot.live
    training.change_numbers()
    path.unlink(missing_ok=True)
    snapshot.write(path)
    snapshot.release()
    for mmap in (False, True):
        found = torch.load(path, weights_only=True, mmap=mmap)
        assert equal(expected, found) and found["state_dict"]._metadata == metadata
        assert list(found) == list(expected)
        assert [*map(layout, tensors(found))] == [*map(layout, tensors(expected))]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    return found


@settings(max_examples=20, deadline=None)
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=8))
def test_a_structure_that_changes_between_saves_is_followed(tmp_path_factory, changes):
    training, staging, path = Training(), TorchStaging(), tmp_path_factory.mktemp("saves") / "a.ckpt"
    training.step()
    for change in changes:
        save(training, staging, path)
        getattr(training, change)()
    save(training, staging, path)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_between_two_saves_is_followed(tmp_path, change):
    training, staging = Training(), TorchStaging()
    training.step()
    save(training, staging, tmp_path / "a.ckpt")
    getattr(training, change)()
    save(training, staging, tmp_path / "a.ckpt")
    save(training, staging, tmp_path / "a.ckpt")


def test_a_structure_that_comes_back_is_laid_out_again(tmp_path):
    """A save in between puts its own bytes where the small storages were."""
    staging, path = TorchStaging(), tmp_path / "a.ckpt"
    weights = OrderedDict(large=torch.randn(70_000), small=torch.randn(3))
    usual = {"state_dict": weights, "note": 1}
    for state in (usual, {"state_dict": {**weights, "other": None}}, usual, {"weights": torch.randn(90_000)}, usual):
        snapshot = staging.stage(state)
        snapshot.write(path)
        snapshot.release()
        assert equal(state, torch.load(path, weights_only=True))
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        path.unlink()


def test_a_snapshot_in_inference_mode_leaves_the_next_one_possible(tmp_path):
    staging, state = TorchStaging(), {"state_dict": {"a": torch.ones(3)}}
    with torch.inference_mode():
        staging.stage(state).release()
    snapshot = staging.stage(state)
    snapshot.write(tmp_path / "a.ckpt")
    snapshot.release()
    assert equal(state, torch.load(tmp_path / "a.ckpt"))


def test_a_view_that_moves_within_its_storage_is_followed(tmp_path):
    training, staging = Training(), TorchStaging()
    training.view_a_part()
    for _ in range(3):
        save(training, staging, tmp_path / "a.ckpt")
        training.shift_the_view()


def test_tied_weights_stay_tied_and_untied_ones_apart(tmp_path):
    training, staging = Training(), TorchStaging()
    training.tie()
    weights = save(training, staging, tmp_path / "a.ckpt")["state_dict"]
    assert weights["tied.weight"].data_ptr() == weights["0.weight"].data_ptr()
    training.untie()
    weights = save(training, staging, tmp_path / "a.ckpt")["state_dict"]
    assert weights["tied.weight"].data_ptr() != weights["0.weight"].data_ptr()


def test_an_unchanged_structure_is_pickled_once():
    training, pickler = Training(), CheckpointPickler()
    training.step()
    first = pickler.pickled(training.checkpoint())
    training.count_in_numbers()
    second = pickler.pickled(training.checkpoint())
    training.step()
    training.count_in_numbers()
    third = pickler.pickled(training.checkpoint())
    assert all(isinstance(found, PickledParts) for found in (first, second, third))
    assert first.structure is not second.structure and second.structure is third.structure


def test_tied_weights_do_not_keep_the_structure_from_being_pickled_once():
    training, pickler = Training(), CheckpointPickler()
    training.tie()
    training.step()
    first, second = pickler.pickled(training.checkpoint()), pickler.pickled(training.checkpoint())
    assert isinstance(first, PickledParts) and isinstance(second, PickledParts)
    assert first.structure is second.structure and first.data == second.data
    assert [one._cdata for one in first.storages] == [one._cdata for one in second.storages]


def test_attributes_that_cannot_be_compared_are_pickled_the_plain_way(tmp_path):
    training, staging = Training(), TorchStaging()
    for _ in range(2):
        state = training.checkpoint()
        state["state_dict"]._metadata["numbers"] = {"mean": torch.ones(3)}
        snapshot = staging.stage(state)
        assert not snapshot.live
        snapshot.write(path := tmp_path / "a.ckpt")
        snapshot.release()
        found = torch.load(path, weights_only=False)
        assert equal(state, found) and equal(state["state_dict"]._metadata, found["state_dict"]._metadata)
        path.unlink()


def test_a_large_rest_does_not_disturb_the_parts(tmp_path):
    training = Training()
    training.step()
    training.more["vocabulary"] = [f"word {number}" for number in range(70_000)]  # more than the memo's free numbers
    save(training, TorchStaging(), tmp_path / "a.ckpt")


def test_torch_compares_tensors_as_expected():
    """Otherwise, saves take longer, and no other test would show it."""
    assert _can_check()
