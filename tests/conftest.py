"""Settings for every test process and for those that they start."""

import os
from pathlib import Path

# Tiny models on two shared cores: more threads only wait for one another.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# quick ones first
_ORDER = (
    "policy", "store", "memory", "runtime", "formats", "config", "", "run", "cli", "torch", "recovery",
    "system/bad_input", "adapters/lightning", "adapters/keras", "system/contract", "system/old_runs",
    "system/competitors",
    "system/faults", "system/torn_snapshots", "system/soak",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Run the quick tests first, so that a mistake shows early."""
    here = Path(__file__).parent

    def rank(item):
        parts = item.path.relative_to(here).parts
        folder = "/".join(parts[:-1])
        slow_top = folder == "" and parts[0] == "test_docs.py"  # runs whole trainings
        return len(_ORDER) if slow_top else _ORDER.index(folder)

    items.sort(key=rank)
