"""A plain PyTorch loop that is driven through `Run`, without Lightning."""

import json
import signal

import pytest
import torch

from ckpt_callbacks import Event, Every, Policy
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.torch.source import TorchSource
from tests.support.forks import forks_of
from tests.support.processes import ROOT
from tests.support.variants import only_quick

SCRIPT = ROOT / "tests" / "torch" / "train_plainly.py"
ALONE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys(("lightning", "pytorch_lightning", "keras", "tensorflow", "jax")))
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def train(dirpath, kill_at=0):
    """Run the script in a process that can import neither Lightning nor Keras."""
    return forks_of("torch").complete_code(ALONE, dirpath, kill_at, cwd=dirpath.parent)


def outcome(done):
    """Return the final state of a run, without what only the last attempt measured: costs, and logged names."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    del found["policy"]["costs"], found["policy"]["fresh"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return outcome(train(tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", only_quick([7, 8, 20], 7))
def test_a_killed_plain_loop_resumes_to_the_same_bits(tmp_path, whole, kill_at):
    dirpath = tmp_path / "run"
    assert train(dirpath, kill_at).returncode == -signal.SIGKILL
    resumed = train(dirpath)
    assert resumed.stdout.startswith("resumed at step ")
    assert outcome(resumed) == whole
    loaded = [torch.load(record.path, weights_only=True)["state_dict"] for record in Manifest.read(dirpath).live()]
    assert len(loaded) >= 3 and all(loaded)


def saved(dirpath, source, contents="full"):
    """Return the checkpoint file of a source that was not trained."""
    settings = Settings(dirpath, contents=contents)
    run = Run(Policy(Every(steps=1)), settings, suffix=".ckpt", framework="torch", name="test")
    run.open()
    run.start(source, step=0, epoch=0)
    run.observe(Event.step_end(step=1, epoch=0))
    run.end()
    return run.view.last().path


def source(width=3, optimizers=1):
    module = torch.nn.Linear(width, 2)
    return TorchSource(module, [torch.optim.Adam(module.parameters()) for _ in range(optimizers)])


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    path = saved(tmp_path / "full", source())
    source().load(path)
    with pytest.raises(ResumeError, match="does not fit Linear: "):
        source(width=4).load(path)
    with pytest.raises(ResumeError, match="does not fit Linear: "):
        source(optimizers=2).load(path)
    with pytest.raises(ResumeError, match="holds no state that TorchSource could resume from"):
        source().load(saved(tmp_path / "weights", source(), contents="weights"))
    with pytest.raises(ResumeError, match=r"is not a torch\.save file"):
        source().load(tmp_path / "missing.ckpt")


def test_a_checkpoint_says_what_it_is_of(tmp_path):
    saved(tmp_path / "run", source())
    (record,) = Manifest.read(tmp_path / "run").live()
    assert record.metadata["model"] == "Linear" and record.metadata["learning_rate"] == [0.001]
