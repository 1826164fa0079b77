"""Helpers of the tests of competitors' failures."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.support.processes import ENVIRONMENT

HERE = Path(__file__).parent
SEEN = {"lightning": "2.6.6", "keras": "3.15.1"}  # the versions whose failures are listed


def fails(framework, failure, what=""):
    """Expect a competitor to fail where this package does not. In a later version, the bug may be fixed."""
    assert failure or version(framework) != SEEN[framework], f"{framework} {version(framework)} does it right: {what}"


def faulty(script, *arguments):
    """Return the report of one of the scripts in this folder about the runs that were killed."""
    command = [sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
