"""Who may import whom: each package what lies below it, no module in a circle, and nothing an experiment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOWNWARDS = ("experiments", "pipeline", "exporters", "latency_tables", "models", "common")


def modules(root: Path) -> dict[str, Path]:
    """Of all packages, by their dotted names."""
    files = [path for package in DOWNWARDS for path in (root / package).rglob("*.py")]
    return {_dotted(path.relative_to(root)): path for path in files}


def imports(root: Path) -> dict[str, set[str]]:
    """Which modules each module imports, wherever in it; what only types need does not count."""
    known = modules(root)
    return {name: set(_imported(name, path, known)) for name, path in known.items()}


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go from a package to one above it."""
    rank = {package: place for place, package in enumerate(DOWNWARDS)}
    return sorted(
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if rank[other.partition(".")[0]] < rank[module.partition(".")[0]]
    )


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves, by way of others (Tarjan's strongly connected components)."""
    order, low, stack, found = dict[str, int](), dict[str, int](), list[str](), list[str]()

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            members = [stack.pop()]
            while members[-1] != module:
                members.append(stack.pop())
            if len(members) > 1:
                found.append(" <-> ".join(sorted(members)))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in _nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in home if part)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fairnas."):
            base = (node.module or "").removeprefix("fairnas.")
        else:
            continue
        for alias in node.names:
            inside = f"{base}.{alias.name}".lstrip(".")
            yield from (each for each in ([inside] if inside in known else [base]) if each in known and each != name)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node)


def test_imports_go_down_and_never_in_circles() -> None:
    graph = imports(ROOT)
    assert len(graph) > 250
    assert upward(graph) == []
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("module", "line", "upwards", "circle"),
    [
        ("common/a.py", "from ..models import b", ["common.a imports models.b"], []),
        (
            "pipeline/a.py",
            "def f():\n    from fairnas.experiments.b import c",
            ["pipeline.a imports experiments.b"],
            [],
        ),
        ("models/a.py", "from .b import c", [], ["models.a <-> models.b"]),
        ("models/a.py", "from ..common.b import c", [], []),
        ("models/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import c", [], []),
    ],
)
def test_what_goes_up_or_in_a_circle_is_found(
    tmp_path: Path, module: str, line: str, upwards: list[str], circle: list[str]
) -> None:
    for package in DOWNWARDS:
        (tmp_path / package).mkdir()
        (tmp_path / package / "b.py").write_text("from . import a\n" if package == "models" else "")
        (tmp_path / package / "a.py").write_text("")
    (tmp_path / module).write_text(line)
    graph = imports(tmp_path)
    assert (upward(graph), circles(graph)) == (upwards, circle)
