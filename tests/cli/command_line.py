"""Run directories that a real `Run` wrote, and the command ``ckpt`` on them."""

import os
import pty
import re
import subprocess
import sys

from ckpt_callbacks import EMA, EventKind, Improves, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.testing import FakeClock, FakeWriter
from tests.support import command as support
from tests.support.processes import ENVIRONMENT
from tests.support.training import new_run, report, start

VAL = Metric("val_loss", mode="min", smoothing=EMA(0.5))
POLICY = Policy(save=Improves(VAL) | Improves(VAL.raw), keep=KeepLast(2) | KeepBest(1, by=VAL))
LOSSES = [1.0, 0.5, 0.4, 0.3, 0.2]  # the fifth save fails
COMMAND = [sys.executable, "-c", "from ckpt_callbacks.cli import main; main(prog_name='ckpt')"]


def train(dirpath, losses=LOSSES, fail_on=(5,), **given):
    clock = FakeClock()
    metadata = {"dataset": "digits", "sizes": [1, 2], "optimizer": {"lr": 0.1, "nesterov": True}}
    run = new_run(dirpath, POLICY, suffix=".ckpt", filename="{epoch:03d}", metadata=metadata, clock=clock, **given)
    run.open()
    start(run)
    writer = FakeWriter(b"x" * 2345, fail_on=set(fail_on))
    for epoch, loss in enumerate(losses, start=1):
        clock.advance(3600)
        report(run, EventKind.EPOCH_END, step=10 * epoch, epoch=epoch, metrics={"val_loss": loss, "acc": 0.5},
                    complete=True, stage=writer)  # fmt: skip
    run.close()
    return run


def ckpt(*arguments):
    """Run the command in this process; output and errors apart, and nothing unexpected raised."""
    result = support.ckpt(*arguments)
    return result.exit_code, result.stdout, result.stderr


def on_terminal(columns, *arguments):
    """Run the command on a terminal of this width; returns what it drew."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "NO_COLOR")} | {
        "TERM": "xterm-256color"
    }
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=environment, stdout=child, stderr=child, stdin=child
    )
    os.close(child)
    drawn = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # on Linux, this means that the other side is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(parent)
    return process.wait(), drawn.decode()


def without_colours(drawn):
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn).replace("\r", "").splitlines()]
