"""Checkpoints that a resume will refuse, as the first save already logs."""

import enum
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer
from tests.support.variants import only_quick


class Kind(enum.Enum):
    A = 1


class With(Model):
    def __init__(self, value):
        super().__init__()
        self.save_hyperparameters({"value": value})


def train(dirpath, module, epochs=2, resume=False, **settings):
    callback = LightningCheckpoint(dirpath, EACH_EPOCH)
    path = callback.resume_path() if resume else None
    trainer(callback, max_epochs=epochs).fit(module, *loaders(), ckpt_path=path, **settings)
    return callback


@pytest.mark.parametrize("value", [Kind.A, np.float64(1), SimpleNamespace(a=1)], ids=lambda v: type(v).__name__)
def test_types_that_torch_refuses_are_named_at_the_first_save_and_at_the_resume(tmp_path, caplog, value):
    train(tmp_path, With(value))
    assert caplog.text.count("which torch does not load by default") == 1
    with pytest.raises(ResumeError, match="weights_only=False"):
        train(tmp_path, With(value), 3, resume=True)
    caplog.clear()
    train(tmp_path, With(value), 3, resume=True, weights_only=False)
    assert "torch does not load" not in caplog.text, "the user knows"


class Late(Model):
    """Saves such a type from its second epoch on."""

    def on_save_checkpoint(self, checkpoint):
        checkpoint["kind"] = Kind.A if self.current_epoch else None


def test_a_type_that_comes_later_is_named_when_it_comes(tmp_path, caplog):
    callback = train(tmp_path, Late(), epochs=3)
    assert caplog.text.count("which torch does not load by default") == 1
    assert [record.file in caplog.text for record in callback.records()] == [False, True, False]


def test_plain_values_are_not_mentioned(tmp_path, caplog):
    train(tmp_path, With({"a": [1, 2.0, "x", None]}))
    assert "these checkpoints" not in caplog.text


class HookedAdapter(Model):
    """Saves a part of its weights."""

    def on_save_checkpoint(self, checkpoint):
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith("net.3")}


class OwnStateDict(Model):
    def state_dict(self, *args, **kwargs):
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if k.startswith("net.3")}


@pytest.mark.parametrize("kind", [HookedAdapter, OwnStateDict])
def test_weights_that_are_left_out_are_named_at_the_first_save_and_at_the_resume(tmp_path, caplog, kind):
    train(tmp_path / "strict", kind())
    assert caplog.text.count("lack weights of the model (net.0.weight") == 1
    with pytest.raises(ResumeError, match=r"lacks weights of .*: net.0.weight .*strict_loading = False") as caught:
        train(tmp_path / "strict", kind(), 3, resume=True)
    assert "different model" not in str(caught.value)


class Deeper(Model):
    """The model with one more layer."""

    strict = True

    def __init__(self):
        super().__init__()
        self.added, self.strict_loading = torch.nn.Linear(1, 1), self.strict


class Loose(Deeper):
    strict = False


@pytest.mark.parametrize("automatic", [True, False])
def test_a_refused_model_is_resumed_or_trained_anew_as_the_message_says(tmp_path, automatic):
    def attempt(module, resume="auto", only=None, epochs=2):
        process_fits._fits.clear()  # as in a new process
        callback = LightningCheckpoint(tmp_path, EACH_EPOCH, resume=resume if automatic else "never")
        fitter = trainer(callback, max_epochs=epochs)
        fitter.fit(module, *loaders(), ckpt_path=None if automatic else callback.resume_path(only=only))
        return fitter.global_step

    train(tmp_path, Model(), epochs=1)
    how = r"pass resume=\{'optimizer': False\}" if automatic else r'resume_path\(only=\["weights", "step"\]\)'
    with pytest.raises(ResumeError, match=rf"strict_loading = False in the module, and if .*, also .*{how}"):
        attempt(Deeper())
    with pytest.raises(ResumeError, match=f"one group of 6 parameters in the script.*{how}"):
        attempt(Loose())
    assert attempt(Loose(), {"optimizer": False}, ["weights", "step"]) == 20
    scratch = f"pass resume='never'{'' if automatic else ' and no ckpt_path'} to start from scratch"
    with pytest.raises(ResumeError, match=scratch):
        attempt(Model(width=4))
    if automatic:
        assert attempt(Model(width=4), "never", epochs=1) == 10


@pytest.mark.parametrize("kind", [HookedAdapter, OwnStateDict])
def test_weights_that_are_left_out_on_purpose_are_not_mentioned(tmp_path, caplog, kind):
    def loose():
        module = kind()
        module.strict_loading = False
        return module

    train(tmp_path, loose())
    callback = train(tmp_path, loose(), 3, resume=True)
    assert callback.last().epoch == 3 and "these checkpoints" not in caplog.text


class Grows(Model):
    """A memory bank."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(0, 10))

    def training_step(self, batch, index):
        self.seen = torch.cat([self.seen, batch[0]])
        return super().training_step(batch, index)


class Shrinks(Model):
    """A queue that is used up."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(30, 10))

    def training_step(self, batch, index):
        self.seen = self.seen[1:]
        return super().training_step(batch, index)


class Learns(Model):
    """A list of words that gets longer in each epoch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("words", torch.zeros(0))

    def on_train_epoch_start(self):
        self.words = torch.cat([self.words, torch.ones(1)])


class GrowsVocabulary(Model):
    """An embedding that gets rows."""

    def on_train_epoch_start(self):
        if self.current_epoch == 0:
            self.net[3] = torch.nn.Linear(8, 1)
            self.added = torch.nn.Parameter(torch.ones(3))
        return super().on_train_epoch_start()


class Resizes(Grows):
    def on_load_checkpoint(self, checkpoint):
        self.seen = torch.empty_like(checkpoint["state_dict"]["seen"])


@pytest.mark.parametrize(("kind", "how"), only_quick([
    (Grows, "seen from (0, 10) to (120, 10)"), (Shrinks, "seen from (30, 10) to (20, 10)"),
    (Learns, "words from (0,) to (1,)"),
], (Grows, "seen from (0, 10) to (120, 10)")))  # fmt: skip
def test_a_buffer_of_another_shape_is_named_at_the_first_save_and_at_the_resume(tmp_path, caplog, kind, how):
    train(tmp_path, kind())
    assert caplog.text.count(f"changed their shape in training ({how})") == 1
    with pytest.raises(ResumeError, match=r"holds buffers of other shapes .*on_load_checkpoint") as caught:
        train(tmp_path, kind(), 3, resume=True)
    assert "different model" not in str(caught.value)


def test_a_weight_that_was_added_in_training_is_named_at_the_first_save(tmp_path, caplog):
    train(tmp_path, GrowsVocabulary())
    assert caplog.text.count("hold weights that the model lacks when it is built (added)") == 1


def test_a_module_that_gives_its_buffer_the_shape_of_the_file_resumes(tmp_path, caplog):
    train(tmp_path, Resizes())
    callback = train(tmp_path, Resizes(), 3, resume=True)
    assert callback.last().epoch == 3 and "these checkpoints" not in caplog.text
