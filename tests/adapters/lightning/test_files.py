"""Checkpoint files: opened without this package, and one file for one state."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer, weights
from tests.support.forks import forks_of
from tests.support.variants import only_quick

OPEN_PLAINLY = """
import sys, importlib.util, torch, lightning
sys.modules["ckpt_callbacks"] = None  # importing it raises
class Model(lightning.LightningModule):
    def __init__(self, width=8):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, width), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(width, 1))
path = sys.argv[1]
loaded = torch.load(path, weights_only=True)
module = Model.load_from_checkpoint(path, width=8)
assert all(torch.equal(loaded["state_dict"][k], v) for k, v in module.state_dict().items())
total = torch.cat([p.detach().flatten() for p in module.parameters()]).double().sum()
print(float(total), "optimizer_states" in loaded)
"""


def plainly(path, folder):
    """Return what plain torch and Lightning read, in a process that cannot import this package."""
    done = forks_of().complete_code(OPEN_PLAINLY, path, cwd=folder)
    assert done.returncode == 0, done.stderr
    total, full = done.stdout.split()
    return float(total), full == "True"


@pytest.mark.parametrize("contents", only_quick(["full", "weights"], "full"))
def test_files_open_without_this_package(tmp_path, contents):
    module, _, callback = fit(tmp_path, arguments={"contents": contents})
    total, has_optimizer = plainly(callback.last().path, tmp_path)
    assert total == float(weights(module).double().sum())
    assert has_optimizer == (contents == "full")
    assert callback.last().resumable == (contents == "full")
    assert (callback.resume_path() is not None) == (contents == "full")


def test_hyperparameters_with_a_path_still_load_safely(tmp_path):
    class WithPath(Model):
        def __init__(self, root):
            super().__init__()
            self.save_hyperparameters("root")

    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    trainer(callback, max_epochs=1).fit(WithPath(tmp_path), *loaders())
    loaded = torch.load(callback.last().path, weights_only=True)
    assert loaded["hyper_parameters"]["root"] == str(tmp_path)


UNUSUAL = {
    "sparse": lambda: torch.eye(4).to_sparse(),
    "sparse, not coalesced": lambda: torch.sparse_coo_tensor([[1, 1]], [1.0, 2.0], (3,)),
    "compressed": lambda: torch.eye(4).to_sparse_csr(),
    "conjugated": lambda: torch.tensor([1 + 2j, 3j]).conj(),
    "negated": lambda: torch.tensor([1 + 2j, 3j]).conj().imag,
    "not a number": lambda: torch.tensor([float("nan")]),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_the_last_state_is_one_file_whatever_kinds_of_tensors_are_in_it(tmp_path, kind):
    module, callback = Model(), LightningCheckpoint(tmp_path, EACH_EPOCH)
    module.register_buffer("unusual", UNUSUAL[kind]())
    trainer(callback, max_epochs=1).fit(module, *loaders())
    (record,) = callback.records()
    assert record.final and record.resumable
    again = Model()
    again.register_buffer("unusual", UNUSUAL[kind]())
    trainer(fresh := LightningCheckpoint(tmp_path, EACH_EPOCH), max_epochs=2).fit(
        again, *loaders(), ckpt_path=fresh.resume_path()
    )
    assert [(r.step, r.final, r.resumable) for r in fresh.records()] == [(10, True, True), (20, True, True)]


class Extra:
    """An object in a checkpoint, which torch loads only from trusted files."""

    def __init__(self, at):
        self.at = at


@pytest.mark.parametrize("changed", [False, True])
def test_the_last_state_is_compared_where_others_put_objects_into_the_file(tmp_path, changed, caplog):
    class Adds(Callback):
        def on_save_checkpoint(self, fitter, module, checkpoint):
            checkpoint["extra"] = Extra(fitter.global_step)

        def on_train_end(self, fitter, module):
            if changed:
                module.net[0].weight.data.zero_()

    _, _, callback = fit(tmp_path, extra=[Adds()], max_epochs=1)
    kinds = [(record.final, record.resumable) for record in callback.records()]
    assert kinds == ([(False, True), (True, False)] if changed else [(True, True)])
    assert "compared" not in caplog.text
