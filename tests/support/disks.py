"""Small file systems for one test."""

import contextlib
import os
import subprocess

import pytest


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount a separate file system."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    if subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
