"""Milliseconds that ``import ckpt_callbacks`` adds to a bare interpreter: interleaved runs, median and range."""

import statistics
import subprocess
import sys
import time


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


pairs = [(seconds("pass"), seconds("import ckpt_callbacks")) for _ in range(20)]
added = sorted(1000 * (ours - bare) for bare, ours in pairs)
print(f"import ckpt_callbacks adds {statistics.median(added):.0f} ms ({added[0]:.0f} to {added[-1]:.0f}, 20 rounds)")
