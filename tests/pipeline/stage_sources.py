"""Which sources decide the result of each stage, and their digests. As a script: rewrites `stage_versions.json`.

A stage's sources are the modules that it reaches by imports, from where its work begins, and the data files beside
them. Where that is, its file in `pipeline/stages` says (`DECIDED_BY`). Names that a package re-exports are followed to
the module that defines them. Not covered are the files of the stages themselves, nor `pipeline.py`: they give a stage
its inputs, and those are in the stage's key.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("stage_versions.json")

# What cannot change a result.
EXCLUDED = {
    "common/kinds.py",  # values of settings are part of every stage's key
    "common/settings.py",
    "pipeline/config.py",
    "pipeline/sizes.py",
    "pipeline/data/settings.py",
    "pipeline/export/settings.py",
    "pipeline/latency/settings.py",
    "pipeline/ranking/settings.py",
    "pipeline/retrain/settings.py",
    "pipeline/search/settings.py",
    "pipeline/search/algorithm_settings.py",
    "pipeline/supernet/settings.py",
    "pipeline/training/settings.py",
    "pipeline/runs/run.py",  # when a stage runs, not what it makes
    "pipeline/runs/manifest.py",
    "pipeline/runs/checkpoint.py",  # resuming changes nothing: test_resume.py
    "pipeline/runs/digested_lines.py",
    "pipeline/training/saved_state.py",
    "pipeline/runs/stopping.py",
    "pipeline/training/diverged.py",  # stops, or changes nothing
    "pipeline/training/chance.py",  # what people read on the way
    "common/errors.py",
    "common/files.py",
    "common/lazy.py",
    "common/names.py",
    "common/reading.py",
    "common/registry.py",
    "common/text.py",
    "pipeline/console.py",  # what people read on the way
    "pipeline/errors.py",
    "latency_tables/errors.py",
    "exporters/errors.py",
    "exporters/litert/settings.py",
    "exporters/onnx/settings.py",
    "exporters/tensorrt/settings.py",
}
# Data that comes with a module and is in no stage's key.
DATA = {
    "latency_tables/devices/browser/device.py": ("latency_tables/devices/browser/page/*",),
    "latency_tables/runner/toolchain.py": ("latency_tables/runner/**/*.[chS]",),
    "models/spaces/registry.py": ("models/spaces/mobile/*.yaml",),
    "exporters/pages/pages.py": ("exporters/pages/page.css",),
    "exporters/passport/page.py": ("exporters/passport/passport.html",),
    "pipeline/report/page.py": ("pipeline/report/*.html", "pipeline/report/*.css", "pipeline/report/*.js"),
}


def stages() -> list[str]:
    """Names of all stages: those of the files that make them."""
    return [file.stem for file in sorted((ROOT / "pipeline/stages").glob("*.py")) if _versions_given(file)]


def sources(stage: str) -> set[str]:
    """Paths of a stage's sources, relative to the repository."""
    found: set[str] = set()
    file = _file_of(stage)
    homes = dict(_imported(file))
    waiting = [homes[name] for name in _decided_by(file)]
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(ROOT))
        if name in found or name in EXCLUDED:
            continue
        found.add(name)
        found |= {str(file.relative_to(ROOT)) for pattern in DATA.get(name, ()) for file in ROOT.glob(pattern)}
        waiting += [home for _, home in _imported(path)]
    return found


def digest(name: str) -> str:
    """Digest of what a source means: comments, docstrings and formatting of a module do not count."""
    content = (ROOT / name).read_text()
    meaning = repr(_essence(ast.parse(content))) if name.endswith(".py") else content
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def version(stage: str) -> int:
    """The version that a stage states."""
    module, constant = version_place(stage)
    value = _assigned(ROOT / module, constant)
    if value is None:
        raise LookupError(f"{module} has no {constant}")
    return ast.literal_eval(value)


def version_place(stage: str) -> tuple[str, str]:
    """Where a stage's version stands, module and constant: what its file gives to each `Stage` that it makes."""
    file = _file_of(stage)
    given = _versions_given(file)
    if len(given) != 1:
        raise LookupError(f"{file.name} gives its stages {len(given)} versions, and must give them one")
    module, _, constant = given.pop().rpartition(".")
    home = dict(_imported(file))[module] if module else file
    return str(home.relative_to(ROOT)), constant


def current() -> dict[str, dict[str, Any]]:
    """What `stage_versions.json` should hold."""
    names = sorted(set().union(*(sources(stage) for stage in stages())))
    return {
        "versions": {stage: version(stage) for stage in stages()},
        "sources": {name: digest(name) for name in names},
    }


def _file_of(stage: str) -> Path:
    return ROOT / "pipeline/stages" / f"{stage}.py"


def _versions_given(file: Path) -> set[str]:
    """What a file gives for the versions of the stages that it makes."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return {ast.unparse(call.args[1]) for call in calls if ast.unparse(call.func) == "Stage"}


def _decided_by(file: Path) -> list[str]:
    """The names in a file's `DECIDED_BY`."""
    value = _assigned(file, "DECIDED_BY")
    if not isinstance(value, ast.Tuple) or not value.elts:
        raise LookupError(f"{file.name} makes a stage, and does not say in DECIDED_BY where its work begins")
    return [ast.unparse(name) for name in value.elts]


def _assigned(file: Path, constant: str) -> Any:
    """What a module assigns to a constant, as a tree."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
            return node.value
    return None


def _imported(path: Path) -> Iterator[tuple[str, Path]]:
    """Names that a module imports from modules of this project, and where they are found."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                yield alias.asname or alias.name, _definition(package, alias.name)


def _definition(package: Path, name: str) -> Path:
    """Where `from package import name` finds its name."""
    module = package.with_suffix(".py")
    if module.is_file():
        return module
    inside = package / name
    for candidate in (inside.with_suffix(".py"), inside / "__init__.py"):
        if candidate.is_file():
            return candidate
    exports = package / "__init__.py"
    for node in ast.walk(ast.parse(exports.read_text())):  # also below `if TYPE_CHECKING`: see common/lazy.py
        if isinstance(node, ast.ImportFrom) and node.level == 1 and name in {a.asname or a.name for a in node.names}:
            return _definition(package.joinpath(*(node.module or "").split(".")), name)
    return exports


def _essence(node: Any) -> Any:
    """A tree as lists, the same in all versions of Python: newer ones add fields that are empty here."""
    if isinstance(node, list):
        return [_essence(item) for item in node if not _is_text(item)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(field, value) for field, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, *((field, _essence(value)) for field, value in fields)]


def _is_text(node: Any) -> bool:
    """Whether a statement is a docstring: a text that nobody reads."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    LOCK.write_text(json.dumps(current(), indent=1) + "\n")
