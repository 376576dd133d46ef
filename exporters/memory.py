"""How much memory does running an exported file take? `python -m fairnas.exporters.memory FILE` prints it as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .errors import ExportError
from .passport.records import MemoryRecord

SUFFIXES = (".onnx", ".tflite")
"""Files that run in this machine's memory; an engine runs in its GPU's."""

_LONGEST_S = 600
_SCRIPT = Path(__file__).with_name("memory_process.py")


def measure_memory(path: Path, runs: int = 5) -> MemoryRecord:
    """Load a file and run it at batch 1 in a fresh process that has imported only its runtime.

    Args:
        path: a `.onnx` or `.tflite` file.
        runs: how often it is run.

    Raises:
        ExportError: there is no such file, it is of another kind, the runtime cannot run it, or the system does not
            tell how much memory a process takes.
    """
    if path.suffix not in SUFFIXES:
        raise ExportError(f"memory is measured of {' and '.join(SUFFIXES)} files, not of {path.name}")
    if not path.is_file():
        raise ExportError(f"no file {path}")
    if not Path("/proc/self/clear_refs").exists():
        raise ExportError("memory is read from Linux's /proc, which is not here")
    # -P: beside the script lies a module called `onnx`.
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_SCRIPT), str(path.absolute()), str(runs)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        reason = f"it did not answer within {_LONGEST_S} s"
        raise ExportError(f"cannot run {path.name} to measure its memory: {reason}") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
        if "No module named 'ai_edge_litert'" in last[0]:
            last = ["install LiteRT: pip install 'fairnas[litert]'"]
        raise ExportError(f"cannot run {path.name} to measure its memory: {last[0]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return MemoryRecord(**said, model_mb=round(max(0.0, said["peak_mb"] - said["before_mb"]), 2))


def main() -> int:
    """The command."""
    if len(sys.argv) != 2:
        print("usage: python -m fairnas.exporters.memory FILE", file=sys.stderr)
        return 2
    try:
        print(measure_memory(Path(sys.argv[1])).model_dump_json(indent=1))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
