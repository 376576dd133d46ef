"""The tiny preset's run: how it is started, rewound, and compared with another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import optuna
from fairnas.common.files import sha256_file, write_json

STAGES = [
    "latency",
    "supernet",
    "oneshot",
    "similarity",
    "search",
    "picks",
    *(f"{kind}/pick-{number}" for kind in ("retrain", "export") for number in (1, 2, 3)),
    "report",
]
TIMES = {"seconds", "images_per_second"}
MEASURED = {"latency_ms", "median_ms", "p90_ms"}


def arguments(run: Path, *more: str) -> list[str]:
    """Arguments of the command."""
    return ["pipeline", "--preset", "tiny", "--target", "pixel", "--run", str(run), *more]


def manifest(run: Path) -> dict[str, Any]:
    """The run's manifest."""
    return json.loads((run / "manifest.json").read_text())


def rewind(finished: Path, run: Path, stage: str) -> None:
    """Copy a finished run without one of its stages. Later stages stay, and stand when its results are the same."""
    shutil.copytree(finished, run)
    shutil.rmtree(run / stage)
    content = manifest(run)
    del content["stages"][stage]
    write_json(run / "manifest.json", content)


def lines(output: str, word: str) -> list[str]:
    """Stages that the command called `cached` or `running`."""
    return [line.split()[1] for line in output.splitlines() if line.startswith(f"{word} ")]


def comparable(run: Path) -> dict[str, Any]:
    """Every file of a run with what must be equal in two runs: content, without times, measurements and the commit."""
    return {str(path.relative_to(run)): _essence(path) for path in sorted(run.rglob("*")) if path.is_file()} | {
        "manifest.json": {name: entry["key"] for name, entry in manifest(run)["stages"].items() if name != "report"}
    }


def _essence(path: Path) -> Any:
    match path.name:
        case ".lock" | "index.html" | "passport.html" | "SHA256SUMS" | "manifest.json":
            return "present"
        case "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
        case "passport.json":
            passport = json.loads(path.read_text())
            del passport["lineage"]["commit"]
            for record in passport["formats"]:
                del record["memory"]
                for latency in record["latency"]:
                    if latency["kind"] == "measured":
                        for name in MEASURED:
                            del latency[name]
            return passport
        case "study.db":
            study = optuna.load_study(study_name="search", storage=f"sqlite:///{path}")
            return [(trial.state.name, trial.values, trial.user_attrs) for trial in study.trials]
    return sha256_file(path)
