"""Variables of `make` that do not exist are refused: an ignored one runs something else for hours."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # As from a shell: the tests may themselves run under `make test`, which would hand its variables on.
    outside = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("target=cpu", "no variable target: did you mean TARGET=?"),
        ("data=images", "no variable data: did you mean DATA=?"),
        ("TARGT=cpu", "no variable TARGT: did you mean TARGET=?"),
        ("PRESETS=tiny", "no variable PRESETS: did you mean PRESET=?"),
        ("zzz=1", "no variable zzz: choose from TARGET PRESET"),
    ],
)
def test_a_slip_is_refused_with_the_nearest(given: str, said: str) -> None:
    made = make("pipeline", given)
    assert made.returncode == 2
    assert said in made.stderr
    assert made.stdout == ""


def test_variables_that_exist_are_used() -> None:
    made = make("pipeline", "TARGET=cpu", "DATA=images", "PRESET=tiny", "SET=a=1 b=2", "RUN=x", "HOST=h", "SERIAL=s")
    assert made.returncode == 0, made.stderr
    for part in ("--target cpu", '--data "images"', "--preset tiny", "--set 'a=1' --set 'b=2'", '--run "x"'):
        assert part in made.stdout
