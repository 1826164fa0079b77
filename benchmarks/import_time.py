"""Milliseconds that ``import ckpt_callbacks`` adds to a bare interpreter.

    python -m benchmarks.import_time

Runs with and without the import alternate.
"""

import statistics
import subprocess
import sys
import time


def seconds(code: str) -> float:
    """Return the seconds that a new interpreter takes to run some code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    pairs = [(seconds("pass"), seconds("import ckpt_callbacks")) for _ in range(20)]
    added = sorted(1000 * (with_import - bare) for bare, with_import in pairs)
    print(
        f"import ckpt_callbacks adds {statistics.median(added):.0f} ms ({added[0]:.0f} to {added[-1]:.0f}, 20 rounds)"
    )


if __name__ == "__main__":
    main()
