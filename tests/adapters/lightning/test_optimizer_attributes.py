"""State that an optimizer keeps outside its state dict: in plain attributes, or in an optimizer inside it."""

import lightning
import pytest
import torch

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer, weights


class Warming(torch.optim.SGD):
    """Raises its rate with a counter of its own."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        self.param_groups[0]["lr"] = 0.001 * min(self.count, 20)
        return super().step(closure)


class Keeping(Warming):
    """The same; its state dict has the counter."""

    def state_dict(self):
        return {**super().state_dict(), "count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]
        super().load_state_dict({key: value for key, value in state.items() if key != "count"})


class InAGroup(torch.optim.SGD):
    """The same; the counter is in a parameter group."""

    def step(self, closure=None):
        group = self.param_groups[0]
        group["count"] = group.get("count", 0) + 1
        group["lr"] = 0.001 * min(group["count"], 20)
        return super().step(closure)


class Slowed(torch.optim.SGD):
    """Keeps an average of the weights, to which it goes back, as Lookahead does."""

    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            if not hasattr(self, "slow"):
                self.slow = [parameter.detach().clone() for parameter in group["params"]]
            for slow, parameter in zip(self.slow, group["params"], strict=True):
                slow.lerp_(parameter.detach(), 0.5)
                parameter.data.copy_(slow)
        return loss


class Outer(torch.optim.Optimizer):
    """Steps another optimizer with a state of its own, as common versions of SAM do."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})
        self.base = torch.optim.SGD(self.param_groups, lr, momentum=0.9)
        self.param_groups = self.base.param_groups

    def step(self, closure=None):
        return self.base.step(closure)


def train(make, dirpath, epochs, resume=False):
    class Module(Model):
        def configure_optimizers(self):
            return make(self.parameters(), lr=0.001)

    lightning.seed_everything(1, verbose=False)
    module, callback = Module(), LightningCheckpoint(dirpath, Policy(Every(epochs=1), KeepAll()))
    path = callback.resume_path() if resume else None
    trainer(callback, max_epochs=epochs).fit(module, *loaders(), ckpt_path=path)
    return weights(module)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Warming, "Warming.count"),
        (Outer, "Outer.base"),
        (Keeping, None),
        pytest.param(Slowed, "Slowed.slow", marks=pytest.mark.slow),
        pytest.param(InAGroup, None, marks=pytest.mark.slow),
        pytest.param(torch.optim.Adam, None, marks=pytest.mark.slow),
    ],
)
def test_what_an_optimizer_does_not_save_is_named_once(tmp_path, caplog, make, name):
    whole = train(make, tmp_path / "whole", 2)
    assert caplog.text.count("attributes of an optimizer change in training") == (name is not None)
    assert name is None or f"are not in its state_dict() ({name});" in caplog.text
    train(make, tmp_path / "cut", 1)
    assert torch.equal(train(make, tmp_path / "cut", 2, resume=True), whole) is (name is None)
