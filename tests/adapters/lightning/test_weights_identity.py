"""Files and metrics belong to the weights that were measured, not to a number of steps."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks import Every, Improves, KeepAll, Patience, Policy, Predicate
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import VAL, Model, loaders, trainer, weights


def train(module, dirpath, policy, *extra, filename=None, **settings):
    """Train; returns the callback."""
    torch.manual_seed(1)
    callback = LightningCheckpoint(dirpath, policy, filename=filename)
    trainer(*extra, callback, **settings).fit(module, *loaders())
    return callback


def measured(module, record):
    """What a validation of a checkpoint's weights measures."""
    module.load_state_dict(torch.load(record.path, weights_only=True)["state_dict"])
    (values,) = trainer().validate(module, loaders()[1], verbose=False)
    return values["val_loss"]


class Normalised(Model):
    """A network whose buffers change in batches without a step."""

    def __init__(self):
        super().__init__()
        self.net.insert(0, torch.nn.BatchNorm1d(10))


class Spectral(Model):
    """A network with a norm that each forward pass estimates anew."""

    def __init__(self):
        super().__init__()
        self.net[0] = torch.nn.utils.parametrizations.spectral_norm(self.net[0])


class Centred(Model):
    """A module that subtracts a running mean of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(10))

    def training_step(self, batch, index):
        self.mean.lerp_(batch[0].mean(0), 0.5)
        return super().training_step((batch[0] - self.mean, batch[1]), index)

    def validation_step(self, batch, index):
        super().validation_step((batch[0] - self.mean, batch[1]), index)


@pytest.mark.parametrize("kind", [Normalised, Spectral, Centred])
def test_validations_within_one_accumulation_have_files_of_their_own(tmp_path, kind):
    module = kind()
    policy = Policy(Predicate(lambda event: "val_loss" in event.metrics), KeepAll(), best_by=VAL)
    records = train(module, tmp_path, policy, accumulate_grad_batches=4, val_check_interval=2, max_epochs=2).records()
    ranked = [record for record in records if VAL.score(record) is not None]
    assert len({record.step for record in ranked}) < len(ranked), "some are of the same step"
    for record in ranked:
        assert measured(module, record) == pytest.approx(record.metrics["val_loss"], rel=1e-5), record.file


def test_validations_of_the_same_weights_share_a_file(tmp_path):
    """Without a step and without buffers, nothing has changed."""
    records = train(
        Model(), tmp_path, Policy(Improves(VAL), KeepAll()), accumulate_grad_batches=5, val_check_interval=1,
        max_epochs=1,
    ).records()  # fmt: skip
    assert [record.step for record in records] == [0, 1, 2]


@pytest.mark.parametrize("policy", [
    Policy(Every(epochs=2), KeepAll(), best_by=VAL),
    Policy(Every(epochs=50), KeepAll(), best_by=VAL),
    Policy(Every(epochs=50), KeepAll(), best_by=VAL, stop=Patience(VAL, checks=1)),
])  # fmt: skip
@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_a_final_checkpoint_has_the_metrics_of_its_weights(tmp_path, policy, interval):
    module = Model()
    callback = train(module, tmp_path, policy, filename="{epoch}-{val_loss:.3f}", val_check_interval=interval)
    final = callback.final()
    assert final.path.name == f"{final.epoch}-{final.metrics['val_loss']:.3f}.ckpt" and final.resumable
    assert VAL.score(final) == pytest.approx(measured(module, final), rel=1e-5)
    assert callback.best() is not None


class Uncounted(Model):
    """Steps an optimizer of its own, which Lightning does not count."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.own = torch.optim.SGD(self.net.parameters(), 0.01)

    def training_step(self, batch, index):
        self.own.zero_grad()
        torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]).backward()
        self.own.step()


class Unoptimized(Uncounted):
    def configure_optimizers(self):
        return None


@pytest.mark.filterwarnings("ignore:.*no optimizer")
@pytest.mark.parametrize("kind", [Uncounted, Unoptimized])
@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_weights_that_change_without_a_step_have_files_of_their_own(tmp_path, kind, interval):
    module = kind()
    policy = Policy(Every(epochs=1) | Improves(VAL), KeepAll())
    callback = train(module, tmp_path, policy, val_check_interval=interval)
    records = callback.records()
    assert len(records) == 3 / interval and callback.final().resumable
    for record in records:
        assert measured(module, record) == pytest.approx(record.metrics["val_loss"], rel=1e-5), record.file


class Averaging(Model):
    """Puts averages into the model for each validation."""

    def on_validation_start(self):
        self.kept = [parameter.detach().clone() for parameter in self.net.parameters()]
        for parameter in self.net.parameters():
            parameter.data.mul_(0.9)

    def on_validation_end(self):
        for parameter, value in zip(self.net.parameters(), self.kept, strict=True):
            parameter.data.copy_(value)


class AveragingCallback(Callback):
    def on_validation_start(self, trainer, pl_module):
        Averaging.on_validation_start(pl_module)

    def on_validation_end(self, trainer, pl_module):
        Averaging.on_validation_end(pl_module)


@pytest.mark.parametrize("module, extra", [(Averaging, []), (Model, [AveragingCallback()]), (Model, [])])
@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_the_log_says_that_other_weights_were_validated(tmp_path, module, extra, interval, caplog):
    train(module(), tmp_path, Policy(Improves(VAL), KeepAll()), *extra, val_check_interval=interval)
    assert caplog.text.count("measured weights that are not saved") == (module is Averaging or bool(extra))


class Overwrites(Callback):
    """Changes weights at the end, in one of the ways that libraries use."""

    def __init__(self, change):
        self.change = change

    def on_train_end(self, trainer, pl_module):
        with torch.no_grad():
            self.change(pl_module)


def by_data(module):
    for parameter in module.parameters():
        parameter.data.copy_(0.9 * parameter.data)


def by_new_data(module):
    for parameter in module.parameters():
        parameter.data = 0.9 * parameter.data


def one_element(module):
    module.net[0].weight[0, 0] += 1


def loaded(module):
    module.load_state_dict({name: 0.9 * value for name, value in module.state_dict().items()})


@pytest.mark.parametrize("change", [by_data, by_new_data, one_element, loaded])
@pytest.mark.parametrize("saved", [True, False])
def test_final_weights_that_were_not_measured_have_no_metrics(tmp_path, change, saved):
    policy = Policy(Every(epochs=1 if saved else 50), KeepAll(), best_by=VAL)
    module = Model()
    callback = train(module, tmp_path, policy, Overwrites(change))
    final = callback.final()
    assert VAL.score(final) is None
    assert torch.equal(weights(module), torch.cat([
        value.flatten() for value in torch.load(final.path, weights_only=True)["state_dict"].values()
    ]))  # fmt: skip
    assert final.resumable is not saved
