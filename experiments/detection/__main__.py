"""`python -m fairnas.experiments.detection`: the Penn-Fudan experiment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ...exporters import ExportError
from ...pipeline.errors import UserError
from ...pipeline.runs.provenance import ROOT
from ...pipeline.training.weights import given_weights
from .markdown import to_markdown
from .people import load_people

RESULTS = ROOT / "results" / "detection.json"
DEFAULT_BACKBONES = "fairnas_a,fairnas_b,fairnas_c,fairnas_c_se,mobilenetv2_100"


def main(
    data: Annotated[Path, typer.Option(help="A folder with annotations.json and pictures, as Penn-Fudan's.")],
    weights: Annotated[
        str | None, typer.Option(help="Trained classifiers: a path with {name} in the backbone's place.")
    ] = None,
    backbones: Annotated[str, typer.Option(help="Names, with commas between.")] = DEFAULT_BACKBONES,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe, e.g. iterations=100. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    run: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/detection"),
    out: Annotated[Path, typer.Option(help="Where to write the results.")] = RESULTS,
) -> None:
    """RetinaNet with several backbones under one recipe: results/detection.json and its table."""
    names = backbones.split(",")
    files = given_weights(weights, names)
    people = load_people(data, seed)
    # These import MMDetection, which takes seconds, and may not be installed.
    from .experiment import run_experiment
    from .training import Recipe

    try:
        recipe = Recipe.model_validate(_pairs(settings or []))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    figures = run_experiment(people, names, files, recipe, seed=seed, folder=run, out=out)
    print(json.dumps({"path": str(out)}))
    print(to_markdown(figures))


def _pairs(texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts."""
    if wrong := [text for text in texts if "=" not in text]:
        raise UserError(f"--set {wrong[0]}: expected KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    try:
        typer.run(main)
    except (UserError, ExportError, OSError) as error:
        sys.exit(f"error: {error}")
