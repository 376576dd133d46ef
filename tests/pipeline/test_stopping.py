"""Being asked to stop: the exit code and one line, whatever libraries make of the exception, and however often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.runs import stopping

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}

pytestmark = pytest.mark.usefixtures("signals")


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> None:
    """A shell starts background commands with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def run(monkeypatch: pytest.MonkeyPatch, app: Callable[..., Any]) -> Any:
    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


def swallowed() -> None:
    """As a library does that imports something optional."""
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", CODES)
def test_each_signal_has_its_exit_code_and_one_line(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: Any) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("went on")

    assert run(monkeypatch, app) == CODES[number]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("run the same command again to go on from the last checkpoint")
    assert line.startswith("stopped: " if number == signal.SIGINT else f"stopped by {number.name}: ")


@pytest.mark.parametrize("then", [lambda: 0, lambda: None, lambda: 1 / 0, lambda: int("x"), lambda: sys.exit(0)])
def test_an_interruption_that_was_swallowed_or_changed_is_remembered(
    then: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: Any) -> Any:
        swallowed()
        return then()

    assert run(monkeypatch, app) == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped by SIGTERM: ")


def test_the_next_step_or_stage_hears_of_one_that_was_swallowed() -> None:
    with stopping.listening():
        stopping.stop_if_wanted()
        swallowed()
        with pytest.raises(stopping.Stopped):
            stopping.stop_if_wanted()


def test_signals_that_are_ignored_stay_ignored() -> None:
    """As nohup asks for, and a shell without job control does to what it starts in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopping.listening():
        os.kill(os.getpid(), signal.SIGHUP)
    assert stopping.exit_code() is None


def test_handlers_are_put_back_where_nobody_asked() -> None:
    with stopping.listening():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


PROGRAM = """
import os, signal, time
from fairnas.pipeline.runs import stopping

signal.signal(signal.SIGINT, signal.default_int_handler)
{before}
with stopping.listening():
    with stopping.between_steps():
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.is_wanted()
        {after}
        os.kill(os.getpid(), signal.SIGINT)
        print("saved", flush=True)
"""


def program(before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(before=before, after=after)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_second_request_at_once_is_the_same_key_press() -> None:
    done = program()
    assert (done.returncode, done.stdout) == (0, "saved\n"), done.stderr
    assert "stopping after this step" in done.stderr


def test_a_second_request_ends_the_process_where_it_is() -> None:
    done = program(after="time.sleep(0.6)")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip().splitlines()[-1].startswith("stopped: run the same command again")
    assert "Traceback" not in done.stderr


def test_a_worker_process_just_ends() -> None:
    done = program(before="", after="pid = os.fork()\n        if not pid: os.kill(os.getpid(), signal.SIGTERM)\n"
                                   "        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))")  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "-15\nsaved\n"), done.stderr
