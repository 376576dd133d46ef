"""Writes a plausible run folder, as the pipeline does, for the tests of the report."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

CHOICES = ["E3K3", "E3K5", "E3K7", "E6K3", "E6K5", "E6K7"]
LAYERS = 19
LIMIT_MS = 8.1
SCORED = 240
GENERATIONS = 12
STEPS = 300
EPOCHS = 15
PICKS = ["pick-1", "pick-2", "pick-3"]
INTERVAL = 0.06
DROPPED = "b:" + "-".join(["E6K7"] * LAYERS)
DROPPED_MS = 8.73
WITHHELD = "top-1 falls by 3.10 points (limit 1.00)"


def write_run(folder: Path, *, target: str = "pixel", dataset: str = "digits", names: list[str] | None = None) -> Path:
    """Write a whole run for a target.

    `pixel`: fitted predictions, no device attached; `cpu`: measured on this host, one pick was dropped there.
    """
    names = names or PICKS
    rng = random.Random(7)
    fitted = target == "pixel"
    _json(folder / "manifest.json", _manifest(names))
    _text(
        folder / "config.yaml",
        f"target: {target}\npreset: quickstart\ndata:\n  source: {dataset}\nsearch:\n  limits: <8.1 ms>\n",
    )
    _write_supernet(folder / "supernet", rng)
    _write_latency(folder / "latency", fitted)
    picks = _write_search(folder / "search", rng, names, fitted)
    _write_picks(folder / "picks", picks, rng, fitted)
    for position, pick in enumerate(picks):
        _write_retrain(folder / "retrain" / pick["name"], pick, position, rng)
        _write_export(folder / "export" / pick["name"], pick, target, fitted, dataset, rng)
    return folder


def read_csv(folder: Path) -> list[dict[str, str]]:
    """Rows of the run's `search/pareto.csv`."""
    with (folder / "search" / "pareto.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def _manifest(names: list[str]) -> dict[str, Any]:
    stages = {"supernet": 71.3, "latency": 0.04, "search": 24.9, "picks": 1.2}
    stages |= {f"retrain/{name}": 38.2 for name in names} | {f"export/{name}": 6.1 for name in names}
    return {
        "stages": {
            name: {
                "key": _sha(name),
                "version": 1,
                "seconds": seconds,
                "finished": f"2026-05-01T12:{index:02d}:30+00:00",
                "inputs": {},
                "outputs": {f"{name}/weights.safetensors": _sha(name + "w"), f"{name}/metrics.jsonl": _sha(name + "m")},
            }
            for index, (name, seconds) in enumerate(stages.items())
        },
        "commit": "4f1c2a9d0e",
        "versions": {"python": "3.11.2", "torch": "2.11.0", "onnxruntime": "1.32.0", "plotly": "7.1.0"},
        "machine": {"cpu": "AMD EPYC 9B14", "cores": 2, "memory_gib": 7.8},
    }


def _write_supernet(folder: Path, rng: random.Random) -> None:
    records: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        epoch = (step - 1) * EPOCHS // STEPS
        loss = 13.8 * math.exp(-step / 90) + 1.6 + rng.gauss(0, 0.25)
        lr = 0.045 * (1 + math.cos(math.pi * step / STEPS)) / 2
        records.append(
            {"kind": "step", "step": step, "epoch": epoch, "loss": loss, "lr": lr, "images_per_second": 612.0}
        )
    _json(
        folder.parent / "oneshot" / "scores.json", {"heldout_top1_mean": 0.847, "heldout_top1_std": 0.021, "paths": 50}
    )
    _text(folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    _json(
        folder.parent / "similarity" / "similarity.json",
        {
            "choices": CHOICES,
            "names": [str(layer + 1) for layer in range(LAYERS)],
            "layers": [[[1.0 - 0.1 * abs(a - b) for a in range(6)] for b in range(6)]] * LAYERS,
            "where": "layer",
            "images": 32,
            "paths": 4,
        },
    )
    _json(
        folder / "fairness.json",
        {
            "sampling": "strict",
            "steps": STEPS,
            "choices": CHOICES,
            "layers": LAYERS,
            "counts": [[STEPS] * len(CHOICES)] * LAYERS,
            "equal_after_every_step": True,
            "backward_passes": STEPS * len(CHOICES),
        },
    )


def _write_latency(folder: Path, fitted: bool) -> None:
    kind = "fitted" if fitted else "measured"
    name = "pixel1" if fitted else "cpu"
    validation: dict[str, Any] = {"table": name, "kind": kind}
    if fitted:
        validation |= {
            "state": "fitted",
            "figure": "mean error 8.1% on held-out groups of 57 blocks (limit 10%)",
            "by": "blocks held out of the fit",
            "n": 57,
            "loo_mape": 0.038,
            "grouped_mape": 0.081,
            "grouped_p90": INTERVAL,
        }
    else:
        validation |= {
            "state": "validated",
            "figure": "95% of 20 networks within 10% (needs 90%)",
            "by": "whole networks that the calibration has not seen",
            "n": 20,
            "mape": 0.021,
            "p90": INTERVAL,
            "within_5": 0.9,
            "within_10": 0.95,
            "bias_before": -0.334,
            "spearman": 0.971,
            "remeasure_spearman": 0.983,
        }
    _json(folder / "validation.json", validation)
    device = {"name": "Google Pixel 1", "cores": 1} if fitted else {"name": "AMD EPYC 9B14", "threads": 1}
    _json(
        folder / "table.json",
        {
            "schema_version": 2,
            "name": name,
            "kind": kind,
            "unit": "ms",
            "device": device,
            "runtime": "TFLite" if fitted else "ONNX Runtime 1.32.0",
            "precision": "fp32",
            "source": "published per-block measurements, Pixel 1" if fitted else "measured on this host",
            "blocks": {} if fitted else {f"block-{place}": {"latency_ms": 0.1} for place in range(70)},
        },
    )


def _write_search(folder: Path, rng: random.Random, names: list[str], fitted: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index in range(SCORED):
        generation = index * GENERATIONS // SCORED
        blocks = rng.choices(CHOICES, weights=[3 + generation, 2, 2, 2, 2, 2], k=LAYERS)
        weight = sum(int(b[1]) * (0.8 + int(b[3]) / 15) for b in blocks)
        latency = weight / 10.4 + rng.gauss(0, 0.12)
        rows.append(
            {
                "architecture": f"b:{'-'.join(blocks)}",
                "accuracy": round(0.905 - 0.22 * math.exp(-weight / 32) - abs(rng.gauss(0, 0.016)), 4),
                "latency_ms": round(latency, 4),
                "madds": int(weight * 4.3e5),
                "params": int(2.1e6 + weight * 3.1e4),
                "feasible": latency <= LIMIT_MS,
                "on_front": False,
                "generation": generation,
                "extrapolated": fitted,
            }
        )
    best = 0.0
    for row in sorted((r for r in rows if r["feasible"]), key=lambda r: (r["latency_ms"], -r["accuracy"])):
        if row["accuracy"] > best:
            best, row["on_front"] = row["accuracy"], True
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pareto.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    front = sorted((r for r in rows if r["on_front"]), key=lambda r: r["latency_ms"])
    chosen = [front[round(i * (len(front) - 1) / max(1, len(names) - 1))] for i in range(len(names))]
    quantities = ("architecture", "accuracy", "latency_ms", "madds", "params")
    picks = [{"name": name, **{key: row[key] for key in quantities}} for name, row in zip(names, chosen, strict=True)]
    _json(folder / "picks.json", picks)
    _json(
        folder / "history.json",
        {
            "hypervolume": [round(0.52 - 0.2 * math.exp(-g / 4), 5) for g in range(GENERATIONS)],
            "reference": [0.0, 12.0],
            "objectives": {"accuracy": "max", "latency_ms": "min"},
            "constraints": [f"latency_ms<={LIMIT_MS}"],
            "satisfiability": [
                {
                    "quantity": "latency_ms",
                    "smallest": 5.21,
                    "median": 8.4,
                    "largest": 13.02,
                    "limit": LIMIT_MS,
                    "satisfiable": True,
                },
                {
                    "quantity": "madds",
                    "smallest": 20_200_000,
                    "median": 31_400_000,
                    "largest": 45_700_000,
                    "limit": None,
                    "satisfiable": True,
                },
            ],
        },
    )
    return picks


def _write_picks(folder: Path, picks: list[dict[str, Any]], rng: random.Random, fitted: bool) -> None:
    """What the device said of the picks; nothing where none was attached."""
    timings = {pick["architecture"]: {"latency_ms": pick["latency_ms"] * (1 + rng.gauss(0, 0.01))} for pick in picks}
    final = [
        pick
        | {
            "latency_low_ms": pick["latency_ms"] * (1 - INTERVAL),
            "latency_high_ms": pick["latency_ms"] * (1 + INTERVAL),
        }
        for pick in picks
    ]
    measured: dict[str, Any] = {}
    if not fitted:
        final = [pick | {"measured_ms": timings[pick["architecture"]]["latency_ms"]} for pick in final]
        timings[DROPPED] = {"latency_ms": DROPPED_MS}
        device = {"name": "AMD EPYC 9B14", "threads": 1}
        measured = {"device": device, "limit_ms": LIMIT_MS, "dropped": [DROPPED], "timings": timings}
    _json(folder / "picks.json", final)
    _json(folder / "measured.json", measured)


def _write_retrain(folder: Path, pick: dict[str, Any], position: int, rng: random.Random) -> None:
    records = [
        {
            "epoch": epoch,
            "train_loss": 2.1 * math.exp(-epoch / 4) + 0.1,
            "val_top1": 0.955 + 0.008 * position - 0.7 * math.exp(-epoch / 3) + rng.gauss(0, 0.006),
            "ema_top1": 0.957 + 0.008 * position - 0.8 * math.exp(-epoch / 3.4),
            "lr": 0.05,
            "seconds": 2.5,
        }
        for epoch in range(EPOCHS)
    ]
    _text(folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    _json(
        folder / "result.json",
        {
            "name": pick["name"],
            "architecture": pick["architecture"],
            "val_top1": records[-1]["val_top1"],
            "epochs": EPOCHS,
        },
    )


def _write_export(
    folder: Path, pick: dict[str, Any], target: str, fitted: bool, dataset: str, rng: random.Random
) -> None:
    host = "AMD EPYC 9B14"
    measured = pick["latency_ms"] * (0.14 if fitted else 1.0) * (1 + rng.gauss(0, 0.03))
    top1 = 0.9528 + rng.random() * 0.02
    _json(
        folder / "passport.json",
        {
            "schema_version": 2,
            "name": pick["name"],
            "architecture": pick["architecture"],
            "se_ratio": 0.0,
            "width": 0.5,
            "resolution": 64,
            "num_classes": 10,
            "classes": [str(digit) for digit in range(10)],
            "params": pick["params"],
            "madds": pick["madds"],
            "preprocessing": {"resolution": 64, "crop_pct": 0.875, "mean": [0.5] * 3, "std": [0.25] * 3},
            "formats": [
                {
                    "format": "onnx",
                    "status": "written",
                    "files": [{"path": "model.onnx", "bytes": 16_734_221, "sha256": _sha(pick["name"])}],
                    "accuracy": {"pytorch_top1": top1, "exported_top1": top1, "images": 360},
                    "parity": {
                        "images": 256,
                        "max_abs_difference": 4.1e-6,
                        "mean_abs_difference": 3.9e-7,
                        "max_relative_difference": 3.3e-7,
                        "top1_agreement": 1.0,
                        "tolerance": 1e-4,
                    },
                    "latency": [
                        {
                            "target": target,
                            "device": "Google Pixel 1" if fitted else host,
                            "source": "predicted, fitted table pixel1" if fitted else "predicted, measured table cpu",
                            "kind": "predicted",
                            "table_kind": "fitted" if fitted else "measured",
                            "table_state": "fitted" if fitted else "validated",
                            "low_ms": pick["latency_ms"] * (1 - INTERVAL),
                            "high_ms": pick["latency_ms"] * (1 + INTERVAL),
                            "extrapolated": fitted,
                            "latency_ms": pick["latency_ms"],
                        },
                        {
                            "target": "host",
                            "device": host,
                            "kind": "measured",
                            "source": "measured, ONNX Runtime 1.32.0, 1 thread",
                            "latency_ms": measured,
                            "median_ms": measured * 1.03,
                            "p90_ms": measured * 1.1,
                            "rounds": 40,
                        },
                    ],
                },
                {
                    "format": "onnx-int8",
                    "status": "withheld",
                    "reason": WITHHELD,
                    "accuracy": {"pytorch_top1": top1, "exported_top1": top1 - 0.031, "images": 360, "max_drop": 0.01},
                    "parity": {
                        "images": 256,
                        "max_abs_difference": 0.83,
                        "mean_abs_difference": 0.041,
                        "max_relative_difference": 0.09,
                        "top1_agreement": 0.9414,
                    },
                },
            ],
            "lineage": {
                "dataset": dataset,
                "dataset_digest": _sha(dataset),
                "config_digest": _sha("config"),
                "commit": "4f1c2a9d0e",
                "table_digest": _sha("table"),
                "weights_sha256": _sha(pick["name"] + "weights"),
            },
        },
    )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json(path: Path, value: Any) -> None:
    _text(path, json.dumps(value, indent=1))


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
