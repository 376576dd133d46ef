"""`python -m fairnas.experiments.segmentation`: the CamVid experiment."""

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
from .experiment import BACKBONES, run_experiment
from .markdown import to_markdown
from .scenes import load_scenes
from .training import Recipe

RESULTS = ROOT / "results" / "segmentation.json"


def main(
    data: Annotated[Path, typer.Option(help="A folder with classes.txt, train/, trainannot/ and so on, as CamVid's.")],
    weights: Annotated[
        str | None, typer.Option(help="Trained classifiers: a path with {name} in the backbone's place.")
    ] = None,
    backbones: Annotated[str, typer.Option(help="Names, with commas between.")] = ",".join(BACKBONES),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe, e.g. epochs=3. Repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="What is judged on: test, or val to choose a recipe.")] = "test",
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    run: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/segmentation"),
    out: Annotated[Path, typer.Option(help="Where to write the results.")] = RESULTS,
) -> None:
    """DeepLabv3+ with several backbones under one recipe: results/segmentation.json and its tables."""
    if split not in ("val", "test"):
        raise UserError(f"--split {split}: choose val or test")
    recipe = _recipe(settings or [])
    figures = run_experiment(
        load_scenes(data), backbones.split(","), weights, recipe, seed=seed, folder=run, out=out, split=split
    )
    print(json.dumps({"path": str(out)}))
    print(to_markdown(figures))


def _recipe(settings: list[str]) -> Recipe:
    try:
        return Recipe.model_validate(dict(text.split("=", 1) for text in settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    except ValueError:
        raise UserError("--set expects KEY=VALUE") from None


if __name__ == "__main__":
    try:
        typer.run(main)
    except (UserError, ExportError, OSError) as error:
        sys.exit(f"error: {error}")
