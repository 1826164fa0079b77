"""Facts about the process for every record. Secrets are never collected: no environment variables are dumped."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

_LATEST = 2.0**33  # seconds since 1970, in the year 2242; processes exchange times as nanoseconds in 64 bits
_PACKAGES = ("ckpt-callbacks", "lightning", "torch", "keras", "tensorflow", "tensorflow-cpu", "jax")


@functools.cache
def environment() -> Mapping[str, Any]:
    """Return the host, Python and package versions, and the git commit of the working directory if it has one."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    facts: dict[str, Any] = {"host": socket.gethostname(), "python": platform.python_version(), "packages": versions}
    commit = _git("rev-parse", "HEAD")
    if commit:
        facts["git_commit"] = commit
        facts["git_dirty"] = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return facts


def job_end(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return when the scheduler will end this job, in UTC seconds since 1970; None if that is not known.

    Args:
        environ: The environment. SLURM sets ``SLURM_JOB_END_TIME`` to the end of the job's time limit; a value that is
            not a time is ignored, because no training run should fail because of it.
    """
    try:
        end = float(environ.get("SLURM_JOB_END_TIME", ""))
    except ValueError:
        return None
    return end if 0 < end < _LATEST else None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
