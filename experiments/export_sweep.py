"""Networks that are not ours, one after the other, to ONNX in float32 and in 8 bits: what is written, what is withheld.

`make experiment-export-sweep`; the names are in `export_sweep.txt` beside this module. Weights are random, images
small, and few of them: what is asked is whether every network ends in a file or in a reason. Of the answers of random
weights a loss means nothing, so that in 8 bits `written` says that a file was made, runs, and answers with numbers.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer

from ..common.exhaustion import raise_if_exhausted
from ..common.files import write_json
from ..common.text import shown
from ..exporters.errors import ExportError, in_one_line
from ..exporters.judgement import LOSS_IS_NOT_JUDGED
from ..latency_tables import get_target
from ..models import TimmModel
from ..pipeline.check_settings import load_config
from ..pipeline.config import Config
from ..pipeline.console import console
from ..pipeline.data import Dataset
from ..pipeline.errors import UserError
from ..pipeline.export import export
from ..pipeline.export.subject import Subject, open_subject
from ..pipeline.runs.provenance import ROOT, commit, machine
from ..pipeline.runs.run import Workspace, versions
from ..pipeline.stages.context import open_dataset

NAMES = Path(__file__).with_name("export_sweep.txt")
FORMATS: tuple[str, ...] = ("onnx", "onnx-int8")
RESOLUTIONS = (64, 96, 128, 224, 256)  # of the images: the first that a network takes, unless it has one size only
SETTINGS = (
    "export.parity_images=32",
    "export.latency_rounds=3",
    "export.int8.calibration_images=16",
    "export.int8.selection_images=32",
    "export.int8.methods=[minmax]",
    "export.int8.max_float_layers=0",
)


def sweep(
    out: Annotated[Path, typer.Option(help="File of the results.")] = ROOT / "results" / "export_sweep.json",
    folder: Annotated[Path, typer.Option(help="Where it goes on after an interruption.")] = Path("runs/export-sweep"),
) -> None:
    """Export every network of the list in both formats; what was done before an interruption is kept."""
    config = load_config("tiny", SETTINGS, target="pixel", seed=0)
    dataset = open_dataset(config)
    names = NAMES.read_text().split()
    stamp = {"commit": commit(), "versions": versions()}
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(names, start=1):
        kept = folder / f"{name}.json"
        done = json.loads(kept.read_text()) if kept.is_file() else {}
        if done.get("stamp") != stamp:
            done = {"stamp": stamp, "rows": _exported(name, config, dataset, folder / name)}
            write_json(kept, done)
        rows += done["rows"]
        for row in done["rows"]:
            said = shown(f"{row['format']} {row['state']} {row['reason'] or ''}")
            console.print(f"{place}/{len(names)} {name}  {said}  {row['seconds']} s")
    states = Counter(row["state"] for row in rows)
    write_json(
        out,
        {
            "n": len(names),
            "formats": list(FORMATS),
            "states": dict(sorted(states.items())),
            "rows": rows,
            "protocol": "timm's networks by name, random weights, digits enlarged to the smallest size "
            f"that a network takes of {', '.join(map(str, RESOLUTIONS))} px (or its only); onnx against PyTorch's "
            f"answers, onnx-int8 only for running and answering with numbers ({LOSS_IS_NOT_JUDGED}); "
            f"{'; '.join(SETTINGS)}",
            "seeds": 1,
            "machine": machine(),
            **{key: stamp[key] for key in ("versions", "commit")},
        },
    )
    console.print(f"{out}: {dict(states)}")


def _exported(name: str, config: Config, dataset: Dataset, folder: Path) -> list[dict[str, Any]]:
    """A row per format; a state of `crashed` would be a fault of ours."""
    started = time.monotonic()
    try:
        torch.manual_seed(config.seed)
        subject = _subject(name, config, dataset)
    except UserError as error:
        seconds = round(time.monotonic() - started, 2)
        return [_row(name, each, "refused", str(error), seconds, None) for each in FORMATS]
    rows = []
    for each in FORMATS:
        started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            state, reason, judged_by = _one(subject, each, config, folder)
        except Exception as error:
            raise_if_exhausted(error)
            state, reason, judged_by = "crashed", in_one_line(error), None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        seconds = round(time.monotonic() - started, 2)
        rows.append(_row(name, each, state, reason, seconds, subject.resolution, judged_by))
    return rows


def _one(subject: Subject, name: str, config: Config, folder: Path) -> tuple[str, str | None, str | None]:
    with suppress(ExportError):  # the passport says why
        export.export(subject, [name], config, get_target(config.target), None, None, {}, Workspace(folder))
    (record,) = json.loads((folder / "passport.json").read_text())["formats"]
    return record["status"], record["reason"], record["facts"].get("judged_by")


def _subject(name: str, config: Config, dataset: Dataset) -> Subject:
    about = timm.get_pretrained_cfg(name)
    sizes = RESOLUTIONS
    if about is not None and about.fixed_input_size:
        sizes = (int(about.input_size[-1]),)
    for place, resolution in enumerate(sizes, start=1):
        try:
            return open_subject(name, TimmModel(name), None, "random", config, dataset, resolution=resolution)
        except UserError:
            if place == len(sizes):
                raise
    raise AssertionError("there are sizes")


def _row(
    name: str,
    form: str,
    state: str,
    reason: str | None,
    seconds: float,
    resolution: int | None,
    judged_by: str | None = None,
) -> dict[str, Any]:
    return {
        "model": name,
        "format": form,
        "state": state,
        "reason": reason,
        "judged_by": judged_by,
        "seconds": seconds,
        "resolution": resolution,
    }


if __name__ == "__main__":
    typer.run(sweep)
