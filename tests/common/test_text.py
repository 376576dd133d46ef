"""What is shown holds no password, no escape sequence and no markup of its own."""

import io

import pytest
from fairnas.common.text import plain, redacted, shown
from rich.console import Console


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:SECRET@h/db",
        "[postgresql+psycopg://u:SECRET@127.0.0.1:1/db",
        "postgresql://u@h/db?password=SECRET",
        "got {'storage': 'postgresql://u:SECRET@127.0.0.1:port/db'}",
        "host=h PASSWORD=SECRET dbname=x",
    ],
)
def test_passwords_are_not_shown(text: str) -> None:
    assert "SECRET" not in redacted(text)
    assert "SECRET" not in shown(text)


@pytest.mark.parametrize("text", ["runs/pixel", "https://host/path", "user@host:folder", "a: b@c"])
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text


def test_control_characters_are_written_out() -> None:
    assert plain("a\x1b[31m\nb\0é\udce9\u202e") == "a\\x1b[31m\\nb\\x00é\\xe9\\u202e"


@pytest.mark.parametrize("text", ["x[/x]", "[red]cat[/red]", "runs[1]", "trailing\\", "a\\[b]"])
def test_brackets_are_printed_as_they_are(text: str) -> None:
    printed = io.StringIO()
    Console(file=printed, width=200).print(f"before [bold]{shown(text)}[/] after")
    assert printed.getvalue() == f"before {text} after\n"
