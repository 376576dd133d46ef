"""Runs a model that nobody vouches for in a process of its own: it may loop, crash or take all memory there."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...common.errors import UnreadableFile
from ...common.reading import parse_json
from ..onnx.export import Preprocessing

SHORTEST_S, LONGEST_S = 20.0, 120.0
"""What a model is given: the first to load what runs it, and more where it computes much."""

_MADDS_PER_S = 5e8
_MEMORY_BYTES = 8 << 30  # of address space; runtimes reserve much more than they use
_MEMORY_PER_BYTE = 6
_SCRIPT = Path(__file__).with_name("model_facts.py")


def seconds_for(madds: int) -> float:
    """How long a model of so many multiply-adds may take."""
    return min(LONGEST_S, SHORTEST_S + madds / _MADDS_PER_S)


def facts_of(path: Path, sha256: str, preprocessing: Preprocessing, seconds: float) -> dict[str, Any]:
    """What `model_facts` says of a file, or why it says nothing, as its `problem`.

    Args:
        path: of the file, a `.onnx` or `.tflite`.
        sha256: of its content, which was looked at before.
        preprocessing: of the images that it takes.
        seconds: how long it may take.
    """
    size = path.stat().st_size
    asked = {
        "path": str(path.absolute()),
        "sha256": sha256,
        "resolution": preprocessing.resolution,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "bytes": _MEMORY_BYTES + _MEMORY_PER_BYTE * size,
        "seconds": math.ceil(seconds),
    }
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        # -P: beside the script lies a module called `onnx`.
        done = subprocess.run(
            [sys.executable, "-P", str(_SCRIPT)],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            env=os.environ | one_thread | {"PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"},
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"it did not answer within {seconds:g} s"}
    if done.returncode == -signal.SIGXCPU or (done.returncode == -signal.SIGKILL and not done.stdout):
        return {"problem": f"it did not answer within {seconds:g} s of computing, or the system killed it"}
    if done.returncode:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        return {"problem": f"the process that ran it crashed ({ended}): it is damaged, or needs too much memory"}
    try:
        facts = parse_json(done.stdout, "what ran it")
    except UnreadableFile as error:
        return {"problem": str(error)}
    return facts if isinstance(facts, dict) else {"problem": "what ran it answered something else"}
