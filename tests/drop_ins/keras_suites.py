"""Keras' own tests of its callbacks, which ship with it, run with the drop-ins in their place."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.support.processes import ROOT

FILES = ("model_checkpoint_test.py", "backup_and_restore_test.py", "early_stopping_test.py")
BACKENDS = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax"}  # and the modules that they need
# What cannot pass, with the reason, as docs/drop-ins.md says it.
REFUSED = {
    "test_best_case_step": "counts the batches of an epoch that is begun again; the drop-in continues in mid-epoch",
    "test_backup_corrupted": "writes into private files of BackupAndRestore, which the drop-in does not have",
}


def outcomes(backend, folder):
    """Return ``{test: whether it passed}`` of one backend; skipped tests are left out.

    Args:
        backend: The backend.
        folder: A folder for temporary files.
    """
    tests = Path(importlib.util.find_spec("keras").origin).parent / "src" / "callbacks"
    ini, report = Path(folder, "pytest.ini"), Path(folder, f"{backend}.xml")
    ini.write_text("[pytest]\n")  # not the settings of this project
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-c", ini, "-p", "no:cacheprovider",
            "-p", "tests.drop_ins.substituted_keras", f"--junitxml={report}", *(tests / name for name in FILES),
        ],
        cwd=folder, env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=590,
    )  # fmt: skip
    if not report.exists():
        raise AssertionError(done.stdout)
    cases = ElementTree.parse(report).iter("testcase")
    return {
        case.get("name"): case.find("failure") is None and case.find("error") is None
        for case in cases
        if case.find("skipped") is None
    }


def main():
    """Run the suites on each backend that is installed, and print the counts. Exit with 1 if they are not as listed."""
    import tempfile

    wrong = False
    for backend, module in BACKENDS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{backend}: not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = outcomes(backend, folder)
        failed = sorted(name for name, passed in found.items() if not passed)
        wrong |= set(failed) != set(REFUSED)
        print(
            f"{backend}: {sum(found.values())} of {len(found)} tests of Keras pass; not: {', '.join(failed) or 'none'}"
        )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
