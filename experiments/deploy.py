"""The deployment study: several networks in every format, judged and timed side by side in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from ..common.files import write_json
from ..exporters.litert.runtime import litert_latency
from ..latency_tables import HostDevice, Rounds, measure
from ..latency_tables.runtimes.onnx_files import load_fixed
from ..pipeline.console import console, sample_bar
from ..pipeline.runs.manifest import PREVIOUS
from ..pipeline.runs.provenance import commit, machine
from ..pipeline.runs.run import versions

RESOLUTIONS = (96, 224)


def collect(
    out: Path,
    runs: list[Path],
    rounds: int = typer.Option(60, help="Of timing: every file once per round, at both resolutions."),
) -> None:
    """Write OUT from run folders, each with exported networks.

    All ONNX files are timed in turns, so that what else the machine does falls on all of them alike; then LiteRT's.
    """
    folders = [
        folder.parent
        for run in runs
        for folder in sorted(run.glob("export/*/passport.json"))
        if not folder.parent.name.endswith(PREVIOUS)
    ]
    if not folders:
        raise typer.BadParameter("no exported networks in these run folders")
    models = {
        f"{folder.name}|{path.name}|{side}": load_fixed(path, (1, 3, side, side))
        for folder in folders
        for path in sorted(folder.glob("*.onnx"))
        for side in RESOLUTIONS
    }
    with sample_bar("latency") as progress:
        timings = measure(HostDevice(), models, Rounds(least=rounds, most=rounds), precision="int8", progress=progress)
    milliseconds = {name: round(timing.latency_ms, 4) for name, timing in timings.items()}
    for path in (path for folder in folders for path in sorted(folder.glob("*.tflite"))):
        # Its size is fixed, that of the deployed network.
        shortest, _ = litert_latency(path.read_bytes(), (1, 3, RESOLUTIONS[0], RESOLUTIONS[0]), rounds)
        milliseconds[f"{path.parent.name}|{path.name}|{RESOLUTIONS[0]}"] = round(shortest, 4)
    rows = [row for folder in folders for row in _rows(folder, milliseconds)]
    fingerprint = HostDevice().fingerprint()
    write_json(
        out,
        {
            "rows": rows,
            "latency": f"shortest of {rounds} interleaved rounds, batch 1, one thread, {fingerprint['runtime']}",
            "device": {key: fingerprint[key] for key in ("name", "runtime", "cores")},
            "seeds": 1,
            "machine": {key: machine()[key] for key in ("processor", "cores")},
            "versions": versions(),
            "commit": commit(),
        },
    )
    console.print(f"{out}: {len(rows)} rows")


def _rows(folder: Path, milliseconds: dict[str, float]) -> list[dict[str, Any]]:
    """A row per format of one exported network; times are of files that were written."""
    passport = json.loads((folder / "passport.json").read_text())
    trained = json.loads((folder.parents[1] / "retrain" / folder.name / "result.json").read_text())
    rows: list[dict[str, Any]] = []
    for record in passport["formats"]:
        accuracy, parity = record["accuracy"] or {}, record["parity"] or {}
        file = record["files"][0] if record["files"] else {}
        times = {side: milliseconds.get(f"{folder.name}|{file.get('path')}|{side}") for side in RESOLUTIONS}
        rows.append(
            {
                "model": folder.name,
                "format": record["format"],
                "status": record["status"],
                "reason": record["reason"],
                "epochs": trained["epochs"],
                "params": passport["params"],
                "top1": accuracy.get("exported_top1"),
                "top1_before": accuracy.get("pytorch_top1"),
                "images": accuracy.get("images"),
                "agreement": parity.get("top1_agreement"),
                "max_relative_difference": parity.get("max_relative_difference"),
                "latency_ms": times[96],
                "latency_224_ms": times[224],
                "bytes": file.get("bytes"),
                "facts": record["facts"],
            }
        )
    return rows


def to_markdown(figures: dict[str, Any]) -> str:
    """The documentation's table."""
    lines = [
        "| network | epochs | format | top-1 | before | same answer | 96 px | 224 px | MB |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    notes: dict[str, list[str]] = {}
    for row in figures["rows"]:
        mark = ""
        if row["reason"]:
            status = row["status"].replace("_", " ")
            notes.setdefault(f"{status}: {row['reason']}", []).append(f"`{row['model']}` `{row['format']}`")
            mark = f" ({status})"
        cells = [
            f"`{row['model']}`",
            str(row["epochs"]),
            f"`{row['format']}`{mark}",
            *(_percent(row[key]) for key in ("top1", "top1_before", "agreement")),
            *(f"{row[key]:.2f} ms" if row[key] else "" for key in ("latency_ms", "latency_224_ms")),
            f"{row['bytes'] / 1e6:.2f}" if row["bytes"] else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    images = next(row["images"] for row in figures["rows"] if row["images"])
    device = figures["device"]
    return (
        f"Imagenette, trained and judged at 96 px on {images:,} validation images, one seed; {figures['latency']} "
        f"({device['name']}).\n\n{_speedups(figures['rows'])}\n\n"
        + "\n".join(lines)
        + "".join(_note(*each) for each in notes.items())
    )


def _speedups(rows: list[dict[str, Any]]) -> str:
    """What 8 bits bring: float latency over that of int8, of each network that left in both."""
    latencies = {(row["model"], row["format"]): row["latency_224_ms"] for row in rows if row["latency_224_ms"]}
    speedups = [
        f"`{model}` {latency / latencies[model, 'onnx-int8']:.2f}"
        for (model, form), latency in latencies.items()
        if form == "onnx" and (model, "onnx-int8") in latencies
    ]
    return f"At 224 px `onnx-int8` is so many times as fast as `onnx`: {', '.join(speedups)}."


def _note(reason: str, of: list[str]) -> str:
    return f"\n\n{reason[0].upper()}{reason[1:].removesuffix('.')}: {', '.join(of)}."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


if __name__ == "__main__":
    typer.run(collect)
