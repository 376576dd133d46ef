"""Keeps one core busy in bursts: other work on a machine whose tables are studied. Run as a script, one for each core.

`python burner.py SEED START PARENT`: from START (seconds since the epoch) it works and rests in turn, 0.2 to 2 s each.
SEED decides how long: all with the same numbers do so at the same time. It ends with the process PARENT.
"""

from __future__ import annotations

import os
import random
import sys
import time

import numpy as np


def burn(seed: int, start: float, parent: int) -> None:
    """Work and rest until the parent is gone."""
    lengths, until = random.Random(seed), start
    matrix = np.random.default_rng(seed).random((256, 256))
    while os.getppid() == parent:
        until += lengths.uniform(0.2, 2)
        while time.time() < until:
            matrix = np.tanh(matrix @ matrix)
        until += lengths.uniform(0.2, 2)
        time.sleep(max(0.0, until - time.time()))


if __name__ == "__main__":
    burn(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
