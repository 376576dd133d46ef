"""The documentation's tables of the segmentation experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def to_markdown(figures: Mapping[str, Any]) -> str:
    """The tables, from what `results/segmentation.json` holds."""
    protocol, rows = figures["protocol"], figures["backbones"]
    (width, height), recipe, machine = protocol["size"], protocol["recipe"], figures["machine"]
    header = ["backbone", "start", "mIoU", "pixels right", "parameters", "multiply-adds", "training"]
    per_class = [[name, *(_percent(row["class_iou"][name]) for row in rows)] for name in protocol["classes"]]
    return (
        f"CamVid, {width} x {height} pixels, {len(protocol['classes'])} classes: "
        f"{protocol['images']['train']} pictures train ({recipe['epochs']} epochs, crops of {recipe['crop']} pixels), "
        f"mIoU on the {figures['n']} of the {protocol['split']} split, one seed, "
        f"{machine['threads']} of {machine['cores']} cores ({machine['processor']}).\n\n"
        + _table(header, [_cells(row) for row in rows])
        + "\n\nIntersection over union of each class:\n\n"
        + _table(["", *(f"`{row['backbone']}`" for row in rows)], per_class)
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        f"`{row['backbone']}`",
        "trained classifier" if row["pretrained"] else "random weights",
        _percent(row["miou"]),
        _percent(row["pixel_accuracy"]),
        f"{row['params'] / 1e6:.2f}M",
        f"{row['madds'] / 1e6:.0f}M",
        f"{row['train_seconds'] / 60:.1f} min",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
