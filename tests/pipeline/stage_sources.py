"""Which sources decide the result of each stage, and their digests. As a script: rewrites `stage_versions.json`.

A stage's sources are the modules that it reaches by imports, from where its work begins, and the data files beside
them. Names that a package re-exports are followed to the module that defines them. Not covered is `pipeline.py` itself:
it gives a stage its inputs, and those are in the stage's key.
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

# All images come from here: a data set's digest says which files it has, not how they are decoded and split.
_IMAGES = "pipeline/data/sources.py"
# Where the work of each stage begins.
STAGES = {
    "supernet": ("pipeline/supernet/train.py", _IMAGES),
    "oneshot": ("pipeline/supernet/scoring.py", _IMAGES),
    "similarity": ("pipeline/supernet/similarity.py", _IMAGES),
    "latency": ("latency_tables/__init__.py",),
    "search": ("pipeline/search/search.py", "pipeline/supernet/scoring.py", _IMAGES),
    "picks": ("pipeline/latency/picks.py",),
    "retrain": ("pipeline/retrain/train.py", _IMAGES),
    "export": ("pipeline/export/export.py", _IMAGES),
    "rank": ("pipeline/ranking/certificate.py", "pipeline/ranking/sample.py", _IMAGES),
    "report": ("pipeline/report/page.py",),
}
# Where each stage's version stands.
VERSIONS = {
    "supernet": ("pipeline/supernet/train.py", "VERSION"),
    "oneshot": ("pipeline/supernet/scoring.py", "VERSION"),
    "latency": ("pipeline/stages/latency.py", "VERSION"),
    "similarity": ("pipeline/supernet/similarity.py", "VERSION"),
    "search": ("pipeline/search/search.py", "VERSION"),
    "picks": ("pipeline/latency/picks.py", "VERSION"),
    "retrain": ("pipeline/retrain/train.py", "VERSION"),
    "export": ("pipeline/export/export.py", "VERSION"),
    "rank": ("pipeline/ranking/certificate.py", "VERSION"),
    "report": ("pipeline/stages/report.py", "VERSION"),
}
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
    "models/search_space.py": ("models/spaces/*.yaml",),
    "exporters/pages/pages.py": ("exporters/pages/page.css",),
    "exporters/passport/page.py": ("exporters/passport/passport.html",),
    "pipeline/report/page.py": ("pipeline/report/*.html", "pipeline/report/*.css", "pipeline/report/*.js"),
}


def sources(stage: str) -> set[str]:
    """Paths of a stage's sources, relative to the repository."""
    found: set[str] = set()
    waiting = [ROOT / module for module in STAGES[stage]]
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(ROOT))
        if name in found or name in EXCLUDED:
            continue
        found.add(name)
        found |= {str(file.relative_to(ROOT)) for pattern in DATA.get(name, ()) for file in ROOT.glob(pattern)}
        waiting += _imports(path)
    return found


def digest(name: str) -> str:
    """Digest of what a source means: comments, docstrings and formatting of a module do not count."""
    content = (ROOT / name).read_text()
    meaning = repr(_essence(ast.parse(content))) if name.endswith(".py") else content
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def version(stage: str) -> int:
    """The version that a stage states."""
    module, constant = VERSIONS[stage]
    for node in ast.parse((ROOT / module).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
            return ast.literal_eval(node.value)
    raise LookupError(f"{module} has no {constant}")


def current() -> dict[str, dict[str, Any]]:
    """What `stage_versions.json` should hold."""
    names = sorted(set().union(*(sources(stage) for stage in STAGES)))
    return {
        "versions": {stage: version(stage) for stage in STAGES},
        "sources": {name: digest(name) for name in names},
    }


def _imports(path: Path) -> Iterator[Path]:
    """Modules of this project that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                yield _definition(package, alias.name)


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
