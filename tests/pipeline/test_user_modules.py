"""Users' own modules that end the process are found out in a process of their own, before anything is trained."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fairnas.models import UserModel, build_any_network, parse_any_network
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.user_modules import check_survivable

MODULES = {
    "leaves_imported": "import os\nos._exit(0)\n",
    "leaves_called": "import os\ndef make(num_classes=2):\n    os._exit(0)\n",
    "aborts_called": "import os\ndef make():\n    os.abort()\n",
    "killed_called": "import os, signal\ndef make():\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    "raises_called": "def make():\n    raise RuntimeError('no')\n",
    "exits_called": "import sys\ndef make():\n    sys.exit(0)\n",
    "sound_called": "import torch\ndef make():\n    print('made')\n    return torch.nn.Linear(512, 512)\n",
    "sleeps": "import os, time\ndef make():\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(60)\n",
    "borrows": "from os import abort\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("leaves_imported", "exit code 0"),
        ("leaves_called", "exit code 0"),
        ("aborts_called", "SIGABRT"),
        ("killed_called", "SIGKILL"),
    ],
)
def test_one_that_ends_the_process_is_refused(module: str, how: str) -> None:
    with pytest.raises(UserError) as caught:
        check_survivable(UserModel(module, "make"))
    assert str(caught.value).startswith(f"{module}:make ends the whole process ({how})")


def test_one_that_never_ends_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"sleeps:make was not made in 0\.05 minutes"):
        check_survivable(UserModel("sleeps", "make"), limit_s=3)
    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


@pytest.mark.parametrize("module", ["raises_called", "exits_called", "sound_called", "not_there"])
def test_whatever_else_happens_is_left_to_who_makes_it(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    check_survivable(UserModel(module, "make"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["os:abort", "antigravity:fly", "posix:abort", "builtins:quit", "sys:exit"])
def test_pythons_own_modules_hold_no_networks(text: str) -> None:
    with pytest.raises(ValueError, match="a module of Python's own"):
        parse_any_network(text)


def test_a_function_of_pythons_own_is_not_called_by_another_name() -> None:
    with pytest.raises(ValueError, match="a function of Python's own makes no network"):
        build_any_network(UserModel("borrows", "abort"))
