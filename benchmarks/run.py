"""All benchmarks, each in its own process. The results go to ``benchmarks/results.md``.

    python -m benchmarks.run [--quick]

Nothing else should run on the machine at the same time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from .engines import ROOT
from .machine import machine

HERE = Path(__file__).resolve().parent
SCRIPTS = ("models", "stall", "interference", "overhead", "restore", "end_to_end", "long_runs", "contents", "mirrors")


def output_of(script: str, *arguments: str) -> tuple[str, bool]:
    """Run a script, print its output as it comes, and return the output and whether the script succeeded."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{script}", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        lines.append(f"\n`python -m benchmarks.{script}` ended with code {process.returncode}.\n\n")
    return "".join(lines), process.returncode == 0


def missed(text: str) -> list[str]:
    """Return the targets that were missed, each in a line with its figure."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    return [f"{row[0]}: {row[1]}; the target is {row[2]}" for row in rows if len(row) == 4 and row[3] == "MISSED"]


def document(quick: bool, sections: dict[str, str], minutes: float) -> str:
    """Return the text of ``results.md``."""
    text = "".join(sections.values())
    found = missed(text)
    summary = [f"{len(found)} targets were missed:", "", *[f"- {line}" for line in found]]
    head = ["# Benchmarks", "", f"`make bench{'-quick' if quick else ''}`, {minutes:.0f} minutes."]
    if quick:
        head.append("Small states and single rounds say little; the targets are meant for `make bench`.")
    return "\n".join([*head, "", *(summary if found else ["No target was missed."]), "", "", text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small states and few rounds; about 3 minutes on 2 cores")
    quick = parser.parse_args().quick
    start, succeeded = time.monotonic(), True
    sections = {"machine": machine(HERE).markdown()}
    print(sections["machine"], end="")
    for script in SCRIPTS:
        sections[script], fine = output_of(script, *(["--quick"] if quick else []))
        succeeded = succeeded and fine
    results = document(quick, sections, (time.monotonic() - start) / 60)
    (HERE / "results.md").write_text(results.rstrip("\n") + "\n")
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
