"""What people see after an export: a line per network and format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from ...common.text import shown
from ..console import console

_COLOURS = {"written": "green", "forced": "red", "withheld": "yellow", "not_run": "cyan"}


def read_passports(run: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The passports of exported networks, as JSON."""
    return [json.loads((run / "export" / name / "passport.json").read_text()) for name in names]


def withheld(passports: Sequence[dict[str, Any]]) -> bool:
    """Whether a format that was asked for is not there."""
    return any(record["status"] == "withheld" for passport in passports for record in passport["formats"])


def show_exports(run: Path, passports: Sequence[dict[str, Any]]) -> None:
    """Print a table per network, what its figures are worth, and where the files are."""
    console.print(f"exported to {shown(run / 'export')}", soft_wrap=True)
    for passport in passports:
        measured = [m for record in passport["formats"] for m in record["latency"] if m["kind"] == "measured"]
        # Where the target's device was attached, it was measured besides this machine.
        devices = list(dict.fromkeys(m["target"] for m in measured if m["target"] != "host"))
        table = Table(title=shown(passport["name"]), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        columns = ("format", "", "top-1", "predicted", *(f"on {name}" for name in devices), "here", "MB", "parity")
        for position, column in enumerate(columns):
            table.add_column(shown(column), justify="right" if position > 1 else "left", no_wrap=True)
        for record in passport["formats"]:
            status = f"[{_COLOURS[record['status']]}]{record['status'].replace('_', ' ')}[/]"
            table.add_row(shown(record["format"]), status, *_figures(record, devices))
        console.print(table)
    for line in _explanations(passports):
        console.print(line)
    report = run / "report" / "index.html"
    if report.exists():
        console.print(f"report   {shown(report)}", soft_wrap=True)


def _figures(record: dict[str, Any], devices: Sequence[str]) -> list[str]:
    accuracy, parity = record["accuracy"], record["parity"]
    by_place = {m["target"]: m["latency_ms"] for m in record["latency"] if m["kind"] == "measured"}
    predicted = next((m for m in record["latency"] if m["kind"] == "predicted"), None)
    mark = "*" if predicted and _is_uncertain(predicted) else ""
    size = sum(file["bytes"] for file in record["files"])
    difference = parity["max_relative_difference"] if parity else None
    return [
        f"{accuracy['exported_top1']:.1%}" if accuracy else "",
        f"{predicted['latency_ms']:.2f} ms{mark}" if predicted else "",
        *(f"{by_place[name]:.2f} ms" if name in by_place else "" for name in devices),
        f"{by_place['host']:.2f} ms" if "host" in by_place else "",
        f"{size / 1e6:.2f}" if size else "",
        f"{difference:.0e}" if difference is not None else "",
    ]


def _is_uncertain(predicted: dict[str, Any]) -> bool:
    of_others = predicted["table_kind"] == "fitted" or predicted.get("other_runtime")
    return bool(of_others or predicted["extrapolated"])


def _explanations(passports: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["parity: largest difference from PyTorch's logits, as a share; here: this machine, one thread"]
    reasons: dict[tuple[str, str], list[str]] = {}
    for passport in passports:
        for record in passport["formats"]:
            if record["reason"]:
                about = f"{passport['name']}, {record['format']}"
                reasons.setdefault((record["status"], record["reason"]), []).append(about)
    for (status, reason), about in reasons.items():
        lines.append(f"[{_COLOURS[status]}]{shown('; '.join(about))}: {shown(reason)}[/]")
    predictions = [m for p in passports for r in p["formats"] for m in r["latency"] if m["kind"] == "predicted"]
    if predictions:
        lines.append(f"predicted: on {shown(predictions[0]['device'])}, not measured")
        if any(m["table_kind"] == "fitted" for m in predictions):
            lines.append("[yellow]* from a table fitted to published measurements of it, not measured[/]")
        if any(m["extrapolated"] for m in predictions):
            lines.append("[yellow]* for sizes outside the measured ones (extrapolated)[/]")
        warned = dict.fromkeys(m["source"].partition("; ")[2] for m in predictions if m.get("other_runtime"))
        lines += [f"[yellow]* {shown(warning)}[/]" for warning in warned]
    return lines
