"""Answers are whole or an error; remarks may be lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fairnas.common import text
from fairnas.pipeline.cli.streams import Forgiving, print_json, print_text

MODELS = [sys.executable, "-m", "fairnas.pipeline.cli", "models", "--json"]


def test_a_full_standard_output_is_an_error() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        made = subprocess.run(MODELS, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert made.returncode == 2
    assert made.stderr == "error: cannot write to standard output: No space left on device\n"


def test_a_reader_that_leaves_is_not_told() -> None:
    process = subprocess.Popen(MODELS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (1, 141)  # the first where click notices it


def test_a_full_standard_error_stops_nothing() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        made = subprocess.run(
            [sys.executable, "-m", "fairnas.pipeline.cli", "report", "--run", "nowhere"], stderr=full, check=False
        )
        assert made.returncode == 2  # the mistake's own, not Python's 120
        stream = Forgiving(full)
        stream.write("lost" * 10_000)
        stream.flush()


def test_json_is_valid_whatever_names_are_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"im\udcff": ["a\udc80b", float("nan"), float("inf"), 1.5], "ü": ("x",)})
    printed = capsys.readouterr().out
    assert "udc" not in printed
    assert json.loads(printed) == {"im\\xff": ["a\\x80b", None, None, 1.5], "ü": ["x"]}


def test_texts_reach_no_terminal_as_commands(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("one \x1b[2J\udcff\ntwo [/x]")
    assert capsys.readouterr().out == "one \\x1b[2J\\xff\ntwo [/x]\n"


def test_progress_bars_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from fairnas.pipeline.console import progress_bar

    with progress_bar("pick[/x]", 2) as bar:
        bar.advance("[red]\x1b[2J")
        bar.advance("[/b]")
    assert "pick[/x]" in capsys.readouterr().err


def test_what_is_hidden_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_hidden", set())
    text.hide("hunter22")
    text.hide("abc")  # too short to hide: it would garble everything
    assert text.shown("driver: hunter22 is not abc") == "driver: *** is not abc"
    assert text.redacted("postgresql://u:p@ss/w:rd@host/db") == "postgresql://u:***@host/db"
