"""The process that judges generated scripts: ``python -m tests.system.generated.serve FRAMEWORK FIRST LAST``."""

import importlib
import sys

from tests.system.generated.harness import serve

if __name__ == "__main__":
    framework, first, last = sys.argv[1], *map(int, sys.argv[2:])
    scripts = importlib.import_module(f"tests.system.generated.{framework}_scripts")
    for verdict in serve(first, last, scripts.CHOICES, scripts.train):
        kind = "identical" if verdict.is_identical else "told" if verdict.was_told else "WRONG"
        print(kind, verdict if kind == "WRONG" else verdict.script.seed, flush=True)
