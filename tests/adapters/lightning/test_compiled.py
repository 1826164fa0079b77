"""Compiled parts of a module: their weights have the names of the plain module in a file, and load both ways."""

import re
import subprocess
import sys

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, digest, loaders, trainer, weights
from tests.support.processes import ROOT
from tests.support.variants import only_quick


def compiled(part):
    return torch.compile(part, backend="eager")


class Plain(Model):
    def __init__(self):
        super().__init__()
        self.net.append(torch.nn.BatchNorm1d(1))


class Compiled(Plain):
    def __init__(self):
        super().__init__()
        self.net = compiled(self.net)


class CompiledTwice(Plain):
    """A compiled part in a compiled part."""

    def __init__(self):
        super().__init__()
        self.net[0] = compiled(self.net[0])
        self.net = compiled(self.net)


class Beside(Plain):
    """The plain part also has a name of its own."""

    def __init__(self):
        super().__init__()
        self.compiled = compiled(self.net)

    def training_step(self, batch, index):
        return torch.nn.functional.mse_loss(self.compiled(batch[0]), batch[1])


def train(dirpath, kind, epochs=1, resume=False, extra=()):
    torch.manual_seed(1)
    callback, module = LightningCheckpoint(dirpath, EACH_EPOCH), kind()
    fitter = trainer(*extra, callback, max_epochs=epochs)
    fitter.fit(module, *loaders(), ckpt_path=callback.resume_path() if resume else None)
    return module, fitter, callback


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Compiled, CompiledTwice, Beside])
def test_a_file_has_the_names_of_the_plain_module(tmp_path, kind):
    *_, callback = train(tmp_path, kind)
    saved = torch.load(callback.last().path, weights_only=True)["state_dict"]
    assert not any("_orig_mod" in name for name in (*saved, *saved._metadata))
    assert saved._metadata["net.4"]["version"] == 2, "of a BatchNorm"
    assert {name for name in saved if not name.startswith("compiled")} == set(Plain().state_dict())


@pytest.mark.parametrize(
    ("first", "second"),
    [(Compiled, Plain), (Plain, Compiled), (CompiledTwice, Compiled), (Plain, CompiledTwice), (Compiled, Compiled),
     (Beside, Beside)],
)  # fmt: skip
def test_a_run_resumes_whatever_is_compiled(tmp_path, first, second):
    whole, fitter, _ = train(tmp_path / "whole", second, 2)
    train(tmp_path / "parts", first)
    module, resumed, _ = train(tmp_path / "parts", second, 2, resume=True)
    assert digest(module, resumed) == digest(whole, fitter)


@pytest.mark.parametrize(("first", "second"), [(Compiled, Plain), (Plain, Compiled)])
def test_the_best_is_tested_whatever_is_compiled(tmp_path, first, second):
    module, _, callback = train(tmp_path, first)
    again = second()
    tester = trainer(callback)
    tester.test(again, loaders()[1], ckpt_path=callback.best_model_path, verbose=False)
    assert torch.equal(weights(again), weights(module))


@pytest.mark.slow
def test_plain_lightning_opens_the_best_of_a_compiled_model(tmp_path):
    module, _, callback = train(tmp_path, Compiled)
    script = (
        "import sys, importlib; from tests.adapters.lightning.test_compiled import Plain, weights\n"
        "print(float(weights(Plain.load_from_checkpoint(sys.argv[1])).double().sum()))"
    )
    done = subprocess.run([sys.executable, "-c", script, callback.best_model_path], capture_output=True, text=True)
    assert done.returncode == 0 and float(done.stdout) == float(weights(module).double().sum()), done.stderr


class InPlace(Plain):
    def __init__(self):
        super().__init__()
        self.net.compile(backend="eager")


def from_file(kind, path):
    return kind.load_from_checkpoint(path)


def by_a_trainer(kind, path):
    module = kind()
    trainer().test(module, loaders()[1], ckpt_path=path, verbose=False)
    return module


@pytest.mark.parametrize("way", [from_file, by_a_trainer])
@pytest.mark.parametrize(
    "kind", [Compiled, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (CompiledTwice, Beside))]
)
def test_without_the_callback_a_file_fits_what_is_compiled_in_place_or_later(tmp_path, kind, way):
    module, _, callback = train(tmp_path, kind)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: .*_orig_mod"):
        way(kind, callback.best_model_path)
    if kind is not Beside:  # which has the weights under two names
        for other in (Plain, InPlace):
            assert torch.equal(weights(way(other, callback.best_model_path)), weights(module))


@pytest.mark.parametrize("kind", only_quick([Compiled, CompiledTwice, Beside], CompiledTwice))
def test_the_documented_method_loads_a_file_into_compiled_parts_without_the_callback(tmp_path, kind):
    text = (ROOT / "docs" / "exact-resume.md").read_text()
    exec(re.search(r"^```python\n(def on_load_checkpoint.*?)^```", text, re.M | re.S)[1], written := {})
    named = type(kind.__name__, (kind,), {"on_load_checkpoint": written["on_load_checkpoint"]})
    module, _, callback = train(tmp_path, kind)
    for way in (from_file, by_a_trainer):
        assert torch.equal(weights(way(named, callback.best_model_path)), weights(module))
    whole, fitter, _ = train(tmp_path / "whole", kind, 2)
    again, resumed, _ = train(tmp_path, named, 2, resume=True)
    assert digest(again, resumed) == digest(whole, fitter), "beside the callback, it does no harm"


def test_a_file_with_the_prefix_goes_into_either(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ckpt_callbacks.lightning.checkpoint_io.write_plain_names", lambda *_: None)
        module, _, callback = train(tmp_path, Compiled)
    assert any("_orig_mod" in n for n in torch.load(callback.last().path, weights_only=True)["state_dict"])
    for kind in (Plain, Compiled):
        again, *_ = train(tmp_path, kind, 1, resume=True)
        assert torch.equal(weights(again), weights(module))


@pytest.mark.parametrize(("first", "second"), [(Compiled, Plain), (Plain, Compiled), (Compiled, Compiled)])
def test_averages_resume_whatever_is_compiled(tmp_path, first, second):
    whole, *_ = train(tmp_path / "whole", second, 2, extra=[EMAWeightAveraging(decay=0.5)])
    train(tmp_path / "parts", first, extra=[EMAWeightAveraging(decay=0.5)])
    module, *_ = train(tmp_path / "parts", second, 2, resume=True, extra=[EMAWeightAveraging(decay=0.5)])
    assert torch.equal(weights(module), weights(whole))


def test_another_model_is_still_distinguished_from_a_compiled_one(tmp_path):
    train(tmp_path, Compiled)
    with pytest.raises(ResumeError, match="was written by a different model"):
        train(tmp_path, lambda: Model(width=4), 2, resume=True)
