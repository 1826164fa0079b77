"""The picture in the README: a run that is killed and resumed, over the same run without interruption.

python docs/draw_resume.py [FILE]      # trains for about 15 s, and writes docs/resume.svg by default

Both runs write the loss of every step to a file. The script compares these losses and the final weights bit by
bit, and draws nothing if one of them differs.
"""

import hashlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

EPOCHS = 6
SAVE_EVERY = 40
KILLED_AT = (70, 140, 187, 270)  # the step at whose end each attempt sends SIGKILL to itself


class Digits(lightning.LightningModule):
    """A classifier with dropout, so that a resume has to bring back random states as well."""

    def __init__(self):
        super().__init__()
        linear, dropout = torch.nn.Linear, torch.nn.Dropout(0.5)
        self.net = torch.nn.Sequential(linear(64, 128), torch.nn.ReLU(), dropout, linear(128, 10))

    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


class LossLog(lightning.Callback):
    """Append the loss of each step to a file, and kill the process after a given step."""

    def __init__(self, path, kill_at):
        self.file, self.kill_at = open(path, "a", buffering=1), kill_at  # noqa: SIM115, a kill closes it

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.file.write(f"{trainer.global_step} {outputs['loss'].item().hex()}\n")
        if trainer.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder, attempt, kill_at):
    """Train in this process, from the newest checkpoint in ``folder`` if there is one."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    lightning.seed_everything(1, verbose=False)
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    ckpt = LightningCheckpoint(folder / "run", Policy(Every(steps=SAVE_EVERY), KeepLast(2)))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, callbacks=[LossLog(folder / f"{attempt}.loss", kill_at), ckpt], logger=False,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    model = Digits()
    trainer.fit(model, DataLoader(data, 32, shuffle=True), ckpt_path=ckpt.resume_path())
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    (folder / "sha256").write_text(hashlib.sha256(weights).hexdigest())


def run(folder, kills):
    """Train to the end, with one kill per attempt, and return the losses of each attempt and the weights' SHA-256."""
    folder.mkdir()
    attempts = []
    for attempt, kill_at in enumerate([*kills, None]):
        process = multiprocessing.get_context("fork").Process(target=train, args=(folder, attempt, kill_at))
        process.start()
        process.join()
        expected = 0 if kill_at is None else -signal.SIGKILL
        if process.exitcode != expected:
            raise SystemExit(f"attempt {attempt + 1} ended with code {process.exitcode}, expected {expected}")
        lines = (folder / f"{attempt}.loss").read_text().splitlines()
        attempts.append({int(step): float.fromhex(loss) for step, loss in map(str.split, lines)})
    return attempts, (folder / "sha256").read_text()


def compare(whole, whole_sha, attempts, sha):
    """Exit with an error unless the losses of all steps and the final weights are equal."""
    different = [step for attempt in attempts for step, loss in attempt.items() if loss != whole[step]]
    if different or sha != whole_sha:
        raise SystemExit(f"the resumed training differs: steps {different}, weights {whole_sha} and {sha}")


# -- drawing ---------------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, TOP, FLOOR, ROW = 880, 60, 20, 62, 270, 19
GREY, RED, COLORS = "#59636e", "#d1242f", ("#0969da", "#8250df")


def text(x, y, content, color=GREY, size=13, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{content}</text>'
    )


def line(points, color, width, dash=""):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>'


def cross(x, y):
    return line([(x - 5, y - 5), (x + 5, y + 5)], RED, 2.5) + line([(x - 5, y + 5), (x + 5, y - 5)], RED, 2.5)


def draw(whole, attempts, sha):
    """Return the picture as SVG."""
    last, top = max(whole), max(whole.values())

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(loss):
        return FLOOR - (FLOOR - TOP - 12) * loss / top

    def curve(losses):
        return [(x(step), y(loss)) for step, loss in losses.items()]

    bars = FLOOR + 58
    height = bars + ROW * len(attempts) + 34
    kills = len(attempts) - 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(LEFT, 24, f"A training run, killed {kills} times with kill -9 and resumed", "#1f2328", 17, weight="bold"),
        line([(LEFT, 42), (LEFT + 26, 42)], "#d0d7de", 8),
        text(LEFT + 34, 46, "uninterrupted"),
        line([(LEFT + 140, 42), (LEFT + 166, 42)], COLORS[0], 1.6),
        text(LEFT + 174, 46, "killed and resumed"),
        cross(LEFT + 322, 42),
        text(LEFT + 334, 46, "kill -9", RED),
        line([(LEFT, TOP), (LEFT, FLOOR), (WIDTH - RIGHT, FLOOR)], GREY, 1),
    ]
    parts += [text(LEFT - 8, y(loss) + 4, f"{loss}", anchor="end") for loss in range(int(top) + 1)]
    parts += [text(x(step), FLOOR + 18, f"{step}", anchor="middle") for step in range(0, last, 50)]
    parts += [text(WIDTH - RIGHT, FLOOR + 36, "optimizer step", anchor="end"), text(LEFT + 8, TOP + 6, "training loss")]
    parts.append(line(curve(whole), "#d0d7de", 7))
    rows = [bars + ROW * number for number in range(len(attempts))]
    for number, (losses, row) in enumerate(zip(attempts, rows, strict=True)):
        begin, end, color = min(losses) - 1, max(losses), COLORS[number % 2]
        parts += [line(curve(losses), color, 1.4), line([(x(begin), row), (x(end), row)], color, 8)]
        if number:
            parts.append(text(x(begin) - 8, row + 4, f"resumed from step {begin}", size=12, anchor="end"))
    for losses, row in zip(attempts[:-1], rows, strict=False):
        end = max(losses)
        parts += [line([(x(end), TOP + 12), (x(end), row)], RED, 1, "3 3"), cross(x(end), y(losses[end]))]
        parts.append(cross(x(end), row))
    ending = f"Every loss and the final weights are identical, bit by bit: SHA-256 {sha[:16]}… in both runs."
    return "\n".join([*parts, text(LEFT, height - 10, ending, "#1f2328", weight="bold"), "</svg>", ""])


def main(target):
    with tempfile.TemporaryDirectory() as folder:
        (whole,), whole_sha = run(Path(folder, "uninterrupted"), ())
        attempts, sha = run(Path(folder, "killed"), KILLED_AT)
    compare(whole, whole_sha, attempts, sha)
    target.write_text(draw(whole, attempts, sha))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("resume.svg"))
