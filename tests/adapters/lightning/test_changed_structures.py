"""Modules that change in training: each checkpoint holds what module and optimizers held at its save."""

import copy
import itertools

import lightning
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer
from tests.formats.test_torch_file import equal

_numbers = itertools.count()


def parameters_of(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class Changes:
    """What may happen to a module and its optimizer between two batches."""

    def add_a_layer(module, optimizer):
        module.add_module(f"layer{next(_numbers)}", torch.nn.Linear(150, 150))  # large and small storages

    def add_a_parameter_group(module, optimizer):
        module.extra = torch.nn.Linear(3, 2)
        optimizer.add_param_group({"params": list(module.extra.parameters()), "lr": 0.5})

    def state_of_new_parameters_appears(module, optimizer):
        for parameter in parameters_of(optimizer):
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    def forget_the_optimizers_state(module, optimizer):
        optimizer.state.clear()

    def reallocate(module, optimizer):
        module.net[0].weight.data = module.net[0].weight.data.clone() + 1

    def transpose(module, optimizer):
        module.net[0].weight.data = module.net[0].weight.data.t().contiguous().t()

    def become_a_view(module, optimizer):
        memory = torch.randn(3 * module.net[0].bias.numel())
        module.net[0].bias.data = memory[5 : 5 + module.net[0].bias.numel()]

    def slots_in_one_block(module, optimizer):
        states = [state for state in optimizer.state.values() if "exp_avg" in state]
        memory = torch.cat([state["exp_avg"].flatten() for state in states]) if states else None
        for state in states:
            size, shape = state["exp_avg"].numel(), state["exp_avg"].shape
            state["exp_avg"], memory = memory[:size].view(shape), memory[size:]

    def tie(module, optimizer):
        module.twin = torch.nn.Linear(10, module.net[0].out_features)
        module.twin.weight = module.net[0].weight

    def untie(module, optimizer):
        if hasattr(module, "twin"):
            module.twin.weight = torch.nn.Parameter(module.net[0].weight.detach().clone())

    def register_a_buffer(module, optimizer):
        module.register_buffer(f"buffer{next(_numbers)}", torch.arange(5, dtype=torch.int16))

    def hide_a_buffer(module, optimizer):
        name = next((name for name, _ in module.named_buffers(recurse=False)), None)
        if name is not None:
            module._non_persistent_buffers_set.add(name)

    def replace_a_module(module, optimizer):
        module.net[3] = torch.nn.Linear(module.net[3].in_features, 1)

    def rename_a_module(module, optimizer):
        if hasattr(module, "extra"):
            module.add_module(f"renamed{next(_numbers)}", module.extra)
            del module.extra

    def swap_two_modules_of_one_shape(module, optimizer):
        module.one, module.other = getattr(module, "other", torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2)

    def freeze(module, optimizer):
        module.net[0].bias.requires_grad_(not module.net[0].bias.requires_grad)

    def slots_of_another_type(module, optimizer):
        for state in optimizer.state.values():
            if "step" in state:
                state["step"] = state["step"].to({torch.float32: torch.float64}.get(state["step"].dtype, torch.float32))

    def a_buffer_of_another_type(module, optimizer):
        old = getattr(module, "scale", torch.ones(4, dtype=torch.float16))
        module.register_buffer("scale", old.view(torch.int16) if old.is_floating_point() else old.view(torch.bfloat16))

    def a_buffer_of_another_shape(module, optimizer):
        module.register_buffer("grown", torch.ones(getattr(module, "grown", torch.ones(1)).numel() + 1))

    def an_unusual_buffer(module, optimizer):
        module.register_buffer("unusual", torch.eye(3).to_sparse() if not hasattr(module, "unusual") else torch.eye(3))

    def steps_as_numbers(module, optimizer):
        for state in optimizer.state.values():
            state["rounds"] = state.get("rounds", 0) + 1

    def nothing(module, optimizer):
        pass


CHANGES = {name: change for name, change in vars(Changes).items() if name[0] != "_"}


class Changing(lightning.Callback):
    """Changes the module after each batch, before the callback under test saves, and notes what is then to be saved."""

    def __init__(self, changes):
        self.changes, self.expected = list(changes), []

    def on_train_batch_end(self, fitter, module, *_):
        (optimizer,) = fitter.optimizers
        CHANGES[self.changes[len(self.expected)]](module, optimizer)
        state = {"state_dict": module.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        self.expected.append(copy.deepcopy(state))  # one memo: what is tied stays tied


def dense(state):
    return [value for value in state["state_dict"].values() if value.layout is torch.strided]


def storages(state):
    """Which of the tensors share a storage."""
    places = [tensor.untyped_storage()._cdata for tensor in dense(state)]
    return [places.index(place) for place in places]


def strides(state):
    return [tensor.stride() for tensor in dense(state)]


def train(dirpath, changes):
    lightning.seed_everything(7, verbose=False)
    changing, callback = Changing(changes), LightningCheckpoint(dirpath, Policy(Every(steps=1), KeepAll()))
    train_loader, _ = loaders()
    trainer(changing, callback, max_epochs=-1, max_steps=len(changes)).fit(Model(), train_loader)
    records = callback.records()
    assert [record.step for record in records] == [*range(1, len(changes) + 1)]
    for record, change, expected in zip(records, changes, changing.expected, strict=True):
        found = torch.load(record.path, weights_only=True)
        for key, value in expected.items():
            assert equal(value, found[key]), (record.step, change, key)
        assert storages(found) == storages(expected), (record.step, change)
        assert strides(found) == strides(expected), (record.step, change)


def test_each_checkpoint_holds_the_module_as_it_was(tmp_path):
    train(tmp_path, [*CHANGES, *CHANGES])


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.sampled_from([*CHANGES]), min_size=2, max_size=12))
def test_each_checkpoint_holds_the_module_after_any_changes(tmp_path_factory, changes):
    train(tmp_path_factory.mktemp("run"), changes)
