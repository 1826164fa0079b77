"""Runs all benchmarks, each in a process of its own, and writes what they print into ``benchmarks/results.md``.

    python benchmarks/run.py [--quick]

Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from measure import machine

HERE = Path(__file__).resolve().parent
SCRIPTS = ("stall.py", "interference.py", "overhead.py", "restore.py", "end_to_end.py")


def said_by(script: str, *arguments: str) -> tuple[str, bool]:
    """What a script prints, which is shown as it comes, and whether it went well."""
    process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        lines.append(f"\n`python benchmarks/{script}` ended with code {process.returncode}.\n\n")
    return "".join(lines), process.returncode == 0


def missed(text: str) -> list[str]:
    """The rows of targets that were missed."""
    return [line for line in text.splitlines() if line.rstrip(" |").endswith("| MISSED")]


def document(quick: bool, sections: dict[str, str], minutes: float) -> str:
    """The whole of ``results.md``."""
    text = "".join(sections.values())
    found = missed(text)
    summary = [f"{len(found)} targets were missed:", "", *[f"- {line.strip('| ')}" for line in found]]
    head = ["# Benchmarks", "", f"`make bench{'-quick' if quick else ''}`, {minutes:.0f} minutes."]
    if quick:
        head.append("Quick: small states and single rounds, which say little; targets are meant for `make bench`.")
    return "\n".join([*head, "", *(summary if found else ["No target was missed."]), "", "", text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small states and few rounds; about 3 minutes on 2 cores")
    quick = parser.parse_args().quick
    start, well = time.monotonic(), True
    sections = {"machine": machine(HERE).markdown()}
    print(sections["machine"], end="")
    for script in SCRIPTS:
        sections[script], fine = said_by(script, *(["--quick"] if quick else []))
        well = well and fine
    results = document(quick, sections, (time.monotonic() - start) / 60)
    (HERE / "results.md").write_text(results.rstrip("\n") + "\n")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
