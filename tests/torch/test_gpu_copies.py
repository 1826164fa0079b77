"""Copies of a device's memory during the next batch."""

import copy
from types import SimpleNamespace

import lightning
import torch

from ckpt_callbacks import Every, KeepAll, OnDeadline, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.lightning.step_only import step_only
from ckpt_callbacks.testing import FakeClock
from ckpt_callbacks.torch import gpu_copies as pinned
from ckpt_callbacks.torch.staging import TorchStaging
from tests.adapters.lightning.task import Model, loaders, trainer


class Momentum(Model):
    """Has an encoder without gradients that follows the one that learns."""

    def __init__(self):
        super().__init__()
        self.follower = copy.deepcopy(self.net).requires_grad_(False)

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), 0.02)


def on_cuda(module):
    """Return what `step_only` finds after a step of a module whose memory stands in for a device's."""
    adam = module.configure_optimizers()
    module.net(torch.ones(2, 10)).sum().backward()
    adam.step()
    device = SimpleNamespace(root_device=torch.device("cuda"))
    return SimpleNamespace(strategy=device, lightning_module=module, optimizers=[adam])


def addresses(tensors):
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def test_weights_that_an_optimizer_steps_are_copied_during_the_next_batch_and_others_are_not():
    fitter = on_cuda(module := Momentum())
    state = [value for state in fitter.optimizers[0].state.values() for value in state.values()]
    assert step_only(fitter) == addresses([*module.net.parameters(), *state])
    assert not step_only(fitter) & addresses(module.follower.parameters())


def test_with_manual_optimization_nothing_is_copied_during_the_next_batch():
    fitter = on_cuda(module := Momentum())
    module.automatic_optimization = False  # no hook is called before a raw optimizer steps
    assert step_only(fitter) == set()


class Order(lightning.Callback):
    """Records where other code may change the weights, and moves the deadline before the second validation."""

    def __init__(self, clock):
        self.clock, self.seen = clock, []

    def on_train_batch_start(self, fitter, *_):
        self.seen.append("batch")
        self.clock.advance(20 if fitter.global_step == 19 else 0)

    def on_validation_start(self, *_):
        self.seen.append("validation")

    def on_train_epoch_start(self, *_):
        self.seen.append("epoch")


def test_copies_of_a_device_run_only_during_the_next_batch(tmp_path, monkeypatch):
    clock = FakeClock()
    order, real = Order(clock), TorchStaging.stage

    def stage(staging, *arguments):
        order.seen.append("saved")
        snapshot = real(staging, *arguments)
        staging._latest = SimpleNamespace(hold_back=lambda: order.seen.append("held back"))  # as a device's
        return snapshot

    monkeypatch.setattr(TorchStaging, "stage", stage)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(clock.wall() + 610))
    policy = Policy(Every(steps=4) | Every(epochs=1) | OnDeadline("10 min"), KeepAll())
    callback = LightningCheckpoint(tmp_path, policy, clock=clock)
    trainer(order, callback, num_sanity_val_steps=0).fit(Model(), *loaders())
    text = " ".join(order.seen)
    assert text.count("saved batch held back") == 6, "after steps, at the next optimizer step"
    assert text.count("saved held back validation") == 1, "before a validation, in which weights may be swapped"
    assert text.count("saved held back epoch") == 2, "between epochs, in which other callbacks may change the weights"
    assert text.count("saved") == text.count("held back")


def test_a_refusal_to_pin_memory_is_forgotten_and_the_memory_used(monkeypatch):
    """Otherwise, torch raises it at its next kernel. There is no device here, so the refusal is simulated."""

    class Runtime:
        def cudaHostRegister(self, *_):
            return 2

    asked, memory = [], pinned.PinnedArena()
    pinned.forget_refusal()  # without CUDA, nothing happens
    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    monkeypatch.setattr(pinned, "forget_refusal", lambda: asked.append(1))
    (piece,) = memory.carve([10])
    memory.pin()
    memory.release()
    assert asked == [1] and len(piece) == 10
