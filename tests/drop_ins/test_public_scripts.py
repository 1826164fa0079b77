"""Scripts as in the frameworks' examples, with one changed import: the same files, and nothing lost by a kill."""

import random
import signal
from pathlib import Path

import keras
import pytest
import torch

from tests.drop_ins.lightning_patterns import listing
from tests.support.forks import forks_of

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SCRIPTS = sorted(path for path in (HERE / "scripts").glob("*.py") if path.stem != "__init__")
IMPORTS = {
    "from lightning.pytorch.callbacks import": "from ckpt_callbacks.lightning import",
    "from keras.callbacks import": "from ckpt_callbacks.keras import",
}


def changed(script, folder):
    """Write the script with one changed line, and return its path."""
    text = script.read_text()
    (found,) = [original for original in IMPORTS if original in text]
    folder.mkdir()
    (folder / script.name).write_text(text.replace(found, IMPORTS[found], 1))
    return folder / script.name


def train(script, folder, batch=0, pause=0):
    """Run a script in a folder; return the digest of its model, and how many batches it trained."""
    folder.mkdir(exist_ok=True)
    done = forks_of().complete(HERE / "run_script.py", script, batch, pause, cwd=folder)
    if batch:
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
        return None, batch
    assert done.returncode == 0, done.stderr[-3000:]
    *_, digest, batches = done.stdout.splitlines()
    return digest, int(batches)


def load(path):
    """Load a file that a script has saved, with what its framework offers."""
    if path.suffix == ".ckpt":
        torch.load(path, weights_only=False)
    elif path.suffix == ".keras":
        keras.saving.load_model(path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_with_one_changed_import(tmp_path, script):
    ours = changed(script, tmp_path / "script")
    theirs, batches = train(script, tmp_path / "original")
    whole, counted = train(ours, tmp_path / "whole")
    assert counted == batches and whole == theirs
    files = listing(tmp_path / "whole")
    assert files == listing(tmp_path / "original")

    batch, pause = random.randrange(2, batches), random.choice((0, 2))
    train(ours, tmp_path / "parts", batch, pause)
    for name in listing(tmp_path / "parts"):  # without what was being written, in a folder that no glob finds
        load(tmp_path / "parts" / name)
    ended, trained = train(ours, tmp_path / "parts")
    assert ended == whole, f"killed at batch {batch}"
    assert {*files} <= {*listing(tmp_path / "parts")}, f"killed at batch {batch}"
    # Without the pause, the kill may come before the first save ends, for which training does not wait.
    if pause and ("ckpt_path=" in script.read_text() or "BackupAndRestore" in script.read_text()):
        assert trained < batches or batch < batches / 2, f"killed at batch {batch}"
