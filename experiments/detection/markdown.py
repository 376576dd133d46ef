"""The documentation's table of the detection experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_markdown(figures: Mapping[str, Any]) -> str:
    """The table, from what `results/detection.json` holds."""
    protocol, recipe = figures["protocol"], figures["protocol"]["recipe"]
    target = protocol["overfit_target_ap50"]
    header = ["backbone", "start", "AP50, learnt by heart", "AP", "AP50", "AP75", "parameters", "training", "ONNX"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *(_cells(row, target) for row in figures["backbones"])]
    return (
        f"Penn-Fudan, {recipe['size']} pixels: {recipe['overfit_iterations']} iterations on "
        f"{protocol['images']['overfit']} pictures, judged on the same (at least {target} is asked for); then, from "
        f"the start again, {recipe['iterations']} iterations of {recipe['batch_size']} of "
        f"{protocol['images']['train']} pictures, COCO AP on {figures['n']} others with "
        f"{protocol['people']['heldout']} people. One seed, "
        f"{figures['machine']['threads']} of {figures['machine']['cores']} cores "
        f"({figures['machine']['processor']}).\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
    )


def _cells(row: Mapping[str, Any], target: float) -> list[str]:
    trained = row["train"]
    return [
        f"`{row['backbone']}`",
        "trained classifier" if row["pretrained"] else "random weights",
        f"{row['overfit']['ap50']:.3f}{'' if row['overfit']['ap50'] >= target else ' (missed)'}",
        *(f"{trained[name]:.3f}" for name in ("ap", "ap50", "ap75")),
        f"{trained['params'] / 1e6:.2f}M",
        "-" if trained["resumed"] else f"{trained['seconds'] / 60:.1f} min",
        f"{trained['onnx_parity']['max_relative_difference']:.1g}",
    ]
