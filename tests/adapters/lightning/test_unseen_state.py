"""State of a module that no checkpoint holds: named once, at the first save that is affected."""

from collections import deque

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelPruning

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, loaders, trainer

GRADIENTS, ATTRIBUTES = "accumulated gradients by hand", "attributes of the module change in training"


def train(dirpath, module, save, *extra, epochs=2, **settings):
    callback = LightningCheckpoint(dirpath, Policy(save, KeepAll()))
    trainer(*extra, callback, max_epochs=epochs, **settings).fit(module, *loaders())
    return callback


class ByHand(Model):
    """Steps after every third batch of 10; ``first`` says whether gradients are cleared ahead of the batches."""

    every, first = 3, False

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        if self.first and index % self.every == 0:
            optimizer.zero_grad()
        self.manual_backward(torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))
        if (index + 1) % self.every == 0:
            optimizer.step()
            if not self.first:
                optimizer.zero_grad()


class ClearsFirst(ByHand):
    first = True


class EachBatch(ByHand):
    every = 1


class EachBatchClearsFirst(EachBatch):
    first = True


class Zeroes(ByHand):
    """Keeps gradients of zeros."""

    def training_step(self, batch, index):
        super().training_step(batch, index)
        if (index + 1) % self.every == 0:
            self.optimizers().zero_grad(set_to_none=False)


class TwoOptimizers(ByHand):
    """Only one of two optimizers steps at each batch."""

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), 0.02) for part in (self.net[0], self.net[3])]

    def training_step(self, batch, index):
        head, body = self.optimizers()
        self.manual_backward(torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))
        head.step()
        head.zero_grad()
        if index % 4 == 3:
            body.step()
            body.zero_grad()


@pytest.mark.parametrize(
    ("kind", "save", "said"),
    [
        (ByHand, Every(epochs=1), True),  # the tenth batch of an epoch waits for a step
        (ClearsFirst, Every(epochs=1), True),
        (TwoOptimizers, Every(epochs=1), True),
        (ByHand, Every(steps=2), False),
        (ClearsFirst, Every(steps=2), False),
        (Zeroes, Every(steps=2), False),
        (EachBatch, Every(epochs=1), False),
        (EachBatchClearsFirst, Every(epochs=1), False),
    ],
)
def test_gradients_that_wait_for_a_step_are_named_once(tmp_path, caplog, kind, save, said):
    # Lightning clears gradients before a validation. The final state is of an epoch's end: 9 batches are 3 whole steps.
    settings = {"limit_val_batches": 0, "limit_train_batches": 10 if save == Every(epochs=1) else 9}
    callback = train(tmp_path, kind(), save, **settings)
    assert len(callback.records()) > 1 and caplog.text.count(GRADIENTS) == said


class Counts(Model):
    """A counter that weights the loss."""

    seen = 0

    def training_step(self, batch, index):
        self.seen += 1
        return super().training_step(batch, index) * self.seen


class Carries(Model):
    """A hidden state that is passed from batch to batch."""

    def training_step(self, batch, index):
        self.hidden = batch[0].mean() + getattr(self, "hidden", 0)
        return super().training_step(batch, index)


class Collects(Model):
    def __init__(self):
        super().__init__()
        self.last = deque(maxlen=50)

    def training_step(self, batch, index):
        self.last.append(float(batch[0].mean()))
        return super().training_step(batch, index)


class Part(torch.nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class InAPart(Model):
    def __init__(self):
        super().__init__()
        self.net[3] = Part(8, 1)


class CarriesTwo(Model):
    """A hidden state of several tensors, as that of an LSTM."""

    def training_step(self, batch, index):
        h, c = getattr(self, "hidden", (torch.zeros(3), torch.zeros(3)))
        self.hidden = h + batch[0].mean(), c
        return super().training_step(batch, index)


class CountsClasses(Model):
    """Numbers in a container whose length stays, and an array that is changed in place."""

    def __init__(self):
        super().__init__()
        self.counts, self.sums = {"seen": 0}, np.zeros(3)

    def training_step(self, batch, index):
        self.counts["seen"] += len(batch[0])
        self.sums += float(batch[0].mean())
        return super().training_step(batch, index)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Counts, "seen"),
        (Carries, "hidden"),
        (CarriesTwo, "hidden"),
        (CountsClasses, "counts, sums"),
        (Collects, "last"),
        (InAPart, "net.3.calls"),
    ],
)
def test_attributes_that_change_are_named_once(tmp_path, caplog, kind, name):
    train(tmp_path, kind(), Every(epochs=1))
    assert caplog.text.count(f"{ATTRIBUTES} and are not in its state dict ({name})") == 1


class Saves(Counts):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint):
        self.seen = checkpoint["seen"]


class SetAgain(Model):
    def on_train_start(self):
        self.noise = torch.randn(4)

    def on_train_epoch_start(self):
        self.beta = 0.3 * self.current_epoch
        return super().on_train_epoch_start()


class Clears(Model):
    """Collects within an epoch, and saves at its end."""

    def __init__(self):
        super().__init__()
        self.outputs = []

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        self.outputs = [*self.outputs, loss.detach()]
        return loss

    def on_train_epoch_end(self):
        self.outputs = [self.outputs[0]]


class Buffers(Model):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def training_step(self, batch, index):
        self.seen += 1
        return super().training_step(batch, index)


class ListsItsWeights(Buffers):
    """Keeps what is in its state dict in further attributes."""

    def __init__(self):
        super().__init__()
        self.averaged = {"weights": list(self.net.parameters()), "others": (self.seen,)}


@pytest.mark.parametrize("kind", [Model, Saves, SetAgain, Clears, Buffers, ListsItsWeights])
def test_what_is_saved_or_set_again_is_not_mentioned(tmp_path, caplog, kind):
    train(tmp_path, kind(), Every(epochs=1))
    assert ATTRIBUTES not in caplog.text


ROWS = {"use_global_unstructured": False, "parameter_names": ["weight"], "pruning_norm": 2, "pruning_dim": 0}


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("l1_unstructured", {}),
        pytest.param("random_unstructured", {}, marks=pytest.mark.slow),
        pytest.param("ln_structured", ROWS, marks=pytest.mark.slow),
    ],
)
def test_pruning_is_named_once_and_hides_nothing_else(tmp_path, caplog, method, how):
    train(tmp_path, Counts(), Every(epochs=1), ModelPruning(method, amount=0.2, **how))
    assert caplog.text.count("ModelPruning saves no masks") == caplog.text.count(ATTRIBUTES) == 1
