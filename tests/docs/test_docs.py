"""The pages say what is so: links, paths, commands, settings, code, and what is written from the code."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from . import pages as reading

ROOT = reading.ROOT
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = reading.pages()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


generator = _generator()


def _settings() -> tuple[set[str], set[str]]:
    """All settings and sections, and those that hold keys of their own."""
    parts = generator.parts()
    settings = [setting for part in parts for setting in part.settings]
    return {each.key for each in (*parts, *settings)}, {each.key for each in settings if each.is_open}


KNOWN, OPEN = _settings()


def problems(page: Path, text: str) -> list[str]:
    """All that is wrong with a page."""
    found: Iterable[Iterable[str]] = (
        reading.broken_links(page, text),
        reading.missing_paths(text),
        reading.uncompiled(text),
        reading.wrong_commands(text),
        reading.unknown_settings(text, KNOWN, OPEN),
        reading.unknown_targets(text, MAKEFILE),
    )
    return [each for kind in found for each in kind]


@each_page
def test_what_a_page_names_is_there(page: Path) -> None:
    assert problems(page, page.read_text()) == []


def test_enough_is_looked_at() -> None:
    """A pattern that finds nothing any more would find nothing wrong."""
    texts = [page.read_text() for page in PAGES]
    lines = [line for text in texts for line in reading.shell_lines(text)]
    assert sum("fairnas " in line for line in lines) > 40
    assert sum(line.startswith("make ") for line in lines) > 40
    assert sum(len(reading.quoted(text)) for text in texts) > 1000
    assert sum(block.language == "python" for text in texts for block in reading.blocks(text)) > 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("[a](gone.md)", "there is no gone.md"),
        ("![a](gone.png)", "there is no gone.png"),
        ("[a](concepts.md#gone)", "concepts.md has no heading #gone"),
        ("# Here\n\n[a](#there)", "this page has no heading #there"),
        ("`pipeline/gone.py`", "there is no pipeline/gone.py"),
        ("`models/spaces/mobile/NAME.toml`", "there is no models/spaces/mobile/NAME.toml"),
        ("```python\nif True print(1)\n```", "invalid syntax: if True print(1)"),
        ("```sh\nfairnas serch\n```", "fairnas serch: no command 'serch'"),
        ("```sh\n.venv/bin/fairnas search --tarjet cpu  # a\n```", "No such option: --tarjet"),
        ("```sh\nfairnas profile --timings few\n```", "should be a valid integer"),
        ("```sh\nfairnas device bundel\n```", "no command 'bundel'"),
        ("```sh\ntorchrun -m -- fairnas.pipeline.cli serch --run x\n```", "no command 'serch'"),
        ("```sh\nfairnas verify\n```", "Missing argument"),
        ("`fairnas verify --speling`", "no option --speling"),
        ("```sh\nfairnas search --set search.pick=3\n```", "there is no setting search.pick"),
        ("`--set 'supernet.epoch=3'`", "there is no setting supernet.epoch"),
        ('```sh\nmake pipeline SET="search.picks=3 serch.picks=3"\n```', "there is no setting serch.picks"),
        ("`export.int8.max_dorp`", "there is no setting export.int8.max_dorp"),
        ("```sh\nmake piepline\n```", "make has no piepline"),
        ("`make pipeline target=cpu`", "make has no target=cpu"),
    ],
)
def test_what_is_wrong_is_found(wrong: str, said: str) -> None:
    found = problems(ROOT / "docs" / "index.md", wrong + "\n")
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "right",
    [
        "[a](concepts.md#which-words-come-up-again-and-again)",
        "[a](https://example.org/gone)",
        "`[a](gone.md)`",
        "`pipeline/stages/`",
        "`results/NAME.json`",
        "`fairnas verify --expect`",
        "```sh\nfairnas retrain fairnas_a --set retrain.opt_args.alpha=0.9 && echo --gone\n```",
        "```sh\npip install fairnas --gone\n```",
        "```text\nfairnas gone\n```",
    ],
)
def test_what_is_right_is_left_alone(right: str) -> None:
    assert problems(ROOT / "docs" / "index.md", right + "\n") == []


def test_the_readme_is_short_and_names_the_tests() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    assert "`make test`" in text


RUNNABLE = [
    pytest.param(block.code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(reading.blocks(page.read_text()))
    if block.is_run
]


@pytest.mark.parametrize("code", RUNNABLE)
def test_code_that_is_said_to_run_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "a block", "exec"), {"__name__": "a block"})


def test_some_code_is_run() -> None:
    assert len(RUNNABLE) >= 4


@pytest.mark.parametrize("name", generator.PAGES)
def test_pages_that_are_written_from_the_code_are_current(name: str) -> None:
    page: Callable[[], str] = generator.PAGES[name]
    assert (ROOT / "docs" / name).read_text() == page(), "run: python docs/generate.py"


def test_every_setting_and_command_has_its_line() -> None:
    settings, commands = generator.configuration(), generator.commands()
    for key in ("supernet.epochs", "search.mnasnet.controller.epochs", "export.int8.max_drop", "retrain.augment.level"):
        assert f"| `{key}` |" in settings
    assert "| `search.mnasnet.controller.epochs` | whole number, at least 1, at most 1,000 | `10` |" in settings
    assert (
        "| `search.hierarchical_mutation.controller.epochs` | whole number, at least 1, at most 1,000 | `4` |"
        in settings
    )
    for line in ("## fairnas device bundle", "| `--sustained SECONDS` |", "## fairnas verify"):
        assert line in commands


def test_every_page_is_in_the_navigation() -> None:
    def files(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        assert isinstance(inner, Iterable)
        return [file for each in inner for file in files(each)]

    listed = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def _mkdocs() -> Path | None:
    places = (Path(sys.executable).parent, ROOT / "build" / "venv-docs" / "bin")
    return next((place / "mkdocs" for place in places if (place / "mkdocs").exists()), None)


def _build(site: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(_mkdocs()), "build", "--strict", "--site-dir", str(site), "--config-file", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


needs_mkdocs = pytest.mark.skipif(_mkdocs() is None, reason="mkdocs is not installed: `make docs` installs it")


@needs_mkdocs
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = _build(tmp_path / "site", ROOT / "mkdocs.yml")
    assert built.returncode == 0, built.stderr
    made = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.*")}
    assert {"index.html", "results.html", "search_hypervolume.svg"} <= made
    assert "generate.py" not in made


@needs_mkdocs
def test_a_site_with_a_broken_anchor_is_not_built(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text()) | {"docs_dir": "docs", "nav": ["index.md"]}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Here\n\n[a](#there)\n")
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config | {"extra_css": []}))
    built = _build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert built.returncode != 0
    assert "#there" in built.stderr
