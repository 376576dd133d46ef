"""How long `fairnas` takes to answer what needs no training: `make bench-startup`."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = (
    ("--help",),
    ("targets",),
    ("models",),
    ("pipeline", "--target", "nope"),
    ("pipeline", "--preset", "nope"),
    ("pipeline", "--data", "missing"),
    ("retrain", "nope"),
    ("export", "--run", "nope"),
    ("transfer", "--weights", "nope"),
    ("verify", "nope"),
)


def cpu_seconds(arguments: tuple[str, ...], folder: Path) -> float:
    """CPU time of one command, user and system, in a working folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "fairnas.pipeline.cli", *arguments]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the median of each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often each command runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        medians = {
            f"fairnas {' '.join(arguments)}": statistics.median(
                cpu_seconds(arguments, Path(folder)) for _ in range(options.times)
            )
            for arguments in COMMANDS
        }
    if options.json:
        print(json.dumps({command: round(seconds, 3) for command, seconds in medians.items()}, indent=1))
        return
    for command, seconds in medians.items():
        print(f"{seconds:6.2f} s of CPU  {command}")


if __name__ == "__main__":
    main()
