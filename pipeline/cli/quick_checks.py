"""What is known of a command line without importing torch: whether folders and names are there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from ...common.places import expanded
from ...latency_tables.targets import get_target
from ..config import Config
from ..errors import UserError
from ..explaining import nearest
from ..export.target_formats import check_formats
from ..image_names import SOURCE_NAMES, no_such_images
from ..runs.stage_names import STAGES


def check_command(config: Config, run: Path, force: str | None) -> None:
    """Refuse an unknown target or stage, images that are not there, and a run folder that cannot be one.

    Raises:
        UserError: the first of them.
        LatencyError: the target is none.
    """
    check_formats(get_target(config.target))
    if force is not None and force.partition("/")[0] not in STAGES:
        raise UserError(f"unknown stage '{force}'{nearest(force, tuple(STAGES))}")
    source = config.data.source
    if source not in SOURCE_NAMES and not expanded(source).exists():
        raise no_such_images(source)
    place = next(each for each in (run, *run.absolute().parents) if each.exists() or each.is_symlink())
    if not place.is_dir():
        raise UserError(f"cannot write to run folder {run}: {place} is not a folder")


def check_there_is_a_run(run: Path | None, preset: str | None, data: str | None, overrides: Sequence[str]) -> None:
    """Refuse `--run TYPO` of a command that goes on from a run, where nothing says what a new one is made from.

    Raises:
        UserError: there is no such run, and neither preset nor images were given.
    """
    made_from_something = preset is not None or data is not None or any(o.startswith("data.source=") for o in overrides)
    if run is None or made_from_something or (run / "manifest.json").exists():
        return
    there = [path.parent.name for path in run.absolute().parent.glob("*/manifest.json")]
    near = difflib.get_close_matches(run.name, there, n=1)
    hint = f": did you mean {run.parent / near[0]}?" if near else ""
    raise UserError(
        f"there is no run in {run}{hint or ':'} Name one that was made, or say what a new one is made from, with "
        "--data or --preset"
    )


def weights_file(weights: Path) -> Path:
    """A `.safetensors` that was named, or that of a retrained network's folder.

    Raises:
        UserError: there is none.
    """
    path = weights / "weights.safetensors" if weights.is_dir() else weights
    if not path.is_file():
        raise UserError(f"no weights {path}: give a .safetensors, or a folder RUN/retrain/NAME")
    return path
