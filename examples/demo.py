"""A demo: one YAML policy drives a Lightning and a Keras run; both are killed halfway and resumed.

python examples/demo.py [FOLDER]      # `make demo` calls it; the runs stay in FOLDER, by default runs/demo
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from ckpt_callbacks.store.manifest import Manifest

HERE = Path(__file__).parent
KILL_AT_EPOCH = 4
# With a small model, more threads would only wait for each other. The last two variables silence TensorFlow.
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
console = Console(highlight=False)

OPEN_LIGHTNING = """
import lightning, torch
class Digits(lightning.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))
model = Digits.load_from_checkpoint(path).eval()
predict = lambda x: model.net(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy()
"""
OPEN_KERAS = """
import keras
model = keras.saving.load_model(path)
predict = lambda x: model.predict(x, verbose=0).argmax(1)
"""
OPEN = """
import sys, warnings
warnings.filterwarnings("ignore")
path, sys.modules["ckpt_callbacks"] = sys.argv[1], None  # an import of this package raises
{opener}
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
x, y = load_digits(return_X_y=True)
_, x, _, y = train_test_split(x / 16, y, test_size=0.3, random_state=0, stratify=y)
print(f"{{path}}: {{(predict(x) == y).mean():.1%}} of {{len(y)}} unseen digits are correct")
"""


def train(script, run_dir, kill_at=None):
    """Run a training script and print its output; kill it with -9 once epoch ``kill_at`` is committed."""
    child = subprocess.Popen(
        [sys.executable, HERE / script, run_dir],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        env=QUIET,
    )  # fmt: skip
    if kill_at is not None:
        while child.poll() is None:
            if any(r.epoch >= kill_at for r in Manifest.read(run_dir).live()):
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
    for line in child.stdout:
        console.print("  " + line.rstrip(), markup=False)
    if child.wait() not in (0, -signal.SIGKILL):
        raise SystemExit(f"{script} failed with exit code {child.returncode}")
    return child.returncode


def main(folder):
    """Train with both frameworks, kill and resume the runs, list their checkpoints, and open the best ones."""
    shutil.rmtree(folder, ignore_errors=True)
    runs = {"Lightning": ("train_lightning.py", OPEN_LIGHTNING), "Keras": ("train_keras.py", OPEN_KERAS)}
    for framework, (script, _) in runs.items():
        run_dir = folder / framework.lower()
        console.rule(f"{framework}: examples/{script}, killed with -9 once epoch {KILL_AT_EPOCH} is committed")
        killed = train(script, run_dir, kill_at=KILL_AT_EPOCH) == -signal.SIGKILL
        console.print(f"  [bold]{'killed' if killed else 'finished before it could be killed'}[/bold]")
        console.rule(f"{framework}: the same command again")
        train(script, run_dir)
    for framework in runs:
        console.rule(f"ckpt ls {folder / framework.lower()} --config examples/ckpt.yaml")
        command = [Path(sys.executable).with_name("ckpt"), "ls", folder / framework.lower()]
        subprocess.run([*command, "--config", HERE / "ckpt.yaml"], check=True)
    console.rule("The best files, opened without this package")
    for framework, (_, opener) in runs.items():
        best = next((folder / framework.lower()).glob("best.*"))
        subprocess.run(
            [sys.executable, "-c", OPEN.format(opener=opener), best.resolve()], check=True, cwd="/", env=QUIET
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo").absolute())
