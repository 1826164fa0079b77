"""Tensors that are mapped from a file, and become the optimizer's own with every change made in between."""

import lightning
import pytest
import torch

from ckpt_callbacks import Every, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import BATCHES, EACH_EPOCH, Model, digest, fit, loaders, trainer


def moments(fitter):
    return [state["exp_avg"] for state in fitter.optimizers[0].state.values()]


class Forgets(lightning.Callback):
    """Resets the momentum when training begins, and watches the first step."""

    def __init__(self, reset):
        self.reset, self.begun = reset, None

    def on_train_start(self, fitter, module):
        for moment in moments(fitter):
            self.reset(moment)

    def on_before_optimizer_step(self, fitter, module, optimizer):
        self.gradients = [p.grad.clone() for p in module.parameters()]

    def on_train_batch_end(self, fitter, *_):
        if self.begun is None:
            self.begun = [torch.allclose(m, 0.1 * g) for m, g in zip(moments(fitter), self.gradients, strict=True)]


@pytest.mark.parametrize(
    "reset",
    [lambda m: m.zero_(), lambda m: m.data.zero_(), lambda m: m.numpy().fill(0), lambda m: m.set_(torch.zeros_like(m))],
    ids=["in place", "past autograd", "through numpy", "by another storage"],
)
def test_what_a_callback_does_to_the_optimizers_before_the_first_step_holds(tmp_path, reset):
    fit(tmp_path, EACH_EPOCH, max_epochs=2)
    forgets = Forgets(reset)
    fit(tmp_path, EACH_EPOCH, max_epochs=3, resume=True, extra=[forgets])
    assert forgets.begun == [True] * 4


class Two(lightning.LightningModule):
    """Steps one fused optimizer at each batch without Lightning's knowledge, and another one through Lightning."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = torch.nn.Linear(10, 8), torch.nn.Linear(8, 1)

    def training_step(self, batch, index):
        raw, wrapped = self.optimizers(use_pl_optimizer=False)[0], self.optimizers()[1]
        torch.nn.functional.mse_loss(self.second(self.first(batch[0])), batch[1]).backward()
        raw.step()
        raw.zero_grad()
        if index % 5 == 4:
            wrapped.step()
            wrapped.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), 0.02, fused=True) for part in (self.first, self.second)]


def test_a_fused_optimizer_that_the_module_steps_itself_is_restored(tmp_path):
    def train(dirpath, epochs, resume=False):
        lightning.seed_everything(7, verbose=False)
        module, callback = Two(), LightningCheckpoint(dirpath, Policy(Every(epochs=1)))
        fitter = trainer(callback, max_epochs=epochs, limit_val_batches=0)
        fitter.fit(module, loaders()[0], ckpt_path=callback.resume_path() if resume else None)
        return digest(module, fitter), fitter.global_step

    whole = train(tmp_path / "whole", 3)
    train(tmp_path / "parts", 1)
    assert train(tmp_path / "parts", 3, resume=True) == whole
    assert whole[1] == 3 * BATCHES // 5


class Keeps(torch.optim.SGD):
    """Keeps for each parameter what a resume has to bring back as it was."""

    def __init__(self, parameters, make):
        super().__init__(parameters, 0.01)
        self.make = make

    def step(self, closure=None):
        loss = super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["kept"] = self.make(state["kept"] if "kept" in state else torch.zeros(50_000))
        return loss


KEPT = {
    "sparse": lambda kept: (kept.to_dense() + torch.eye(1, 50_000)[0]).to_sparse(),
    "a leaf that requires a gradient": lambda kept: (kept.detach() + 1).requires_grad_(),
    "a class of its own": lambda kept: (kept.as_subclass(torch.Tensor) + 1).as_subclass(Marked),
}


class Marked(torch.Tensor):
    pass


@pytest.mark.parametrize("kind", KEPT)
def test_optimizer_state_of_any_kind_is_restored(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Model, "configure_optimizers", lambda self: Keeps(self.parameters(), KEPT[kind]))

    def sums(fitter):
        return [float(s["kept"].detach().to_dense().sum()) for s in fitter.optimizers[0].state.values()]

    with torch.serialization.safe_globals([Marked]):
        _, whole, _ = fit(tmp_path / "whole", max_epochs=2)
        fit(tmp_path / "cut", max_epochs=1)
        _, resumed, _ = fit(tmp_path / "cut", max_epochs=2, resume=True)
    assert sums(whole) == sums(resumed) and sums(whole)[0] >= 20
