"""Slow training runs in separate processes, for the tests that interrupt them."""

import subprocess
import sys
import time
from pathlib import Path

from ckpt_callbacks.store.manifest import Manifest
from tests.support.forks import forks_of
from tests.support.processes import ROOT

CKPT = Path(sys.executable).with_name("ckpt")


class Training:
    """A script that takes a run directory and the seconds per batch, and prints its progress."""

    def __init__(self, folder):
        self.script = ROOT / folder / "train_interrupted.py"

    def start(self, dirpath, pause, *arguments):
        """Start the script in the background."""
        return forks_of().start(self.script, dirpath, pause, *arguments)

    def outcome(self, dirpath, *arguments):
        """Train to the end without pauses; return the last line that the script prints."""
        return forks_of().run(self.script, dirpath, 0, *arguments).splitlines()[-1]

    def saves_on_demand(self, dirpath, line):
        """Ask for a save once the script has printed ``line``, and wait until the save is done."""
        child = self.start(dirpath, 0.2)
        try:
            wait_for(child, line)
            subprocess.run([CKPT, "save", dirpath], check=True, capture_output=True)
            deadline = time.monotonic() + 30
            while (dirpath / "SAVE_NOW").exists():  # the file is removed once the save is done
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert any("on demand" in record.reasons for record in Manifest.read(dirpath).live())
        finally:
            child.kill()
            child.wait()


def wait_for(child, line):
    """Read until the script prints ``line``."""
    for found in child.stdout:
        if found.startswith(line):
            return
    raise AssertionError(f"the training never came to {line!r}")
