"""Results of rankings: certificates of several supernets side by side, per sampling over seeds.

`python -m fairnas.experiments.ranking collect results/ranking_macro.json RUN...` merges the certificates of runs
that `fairnas rank --truth` has judged on the same architectures.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from ..common.files import write_json
from ..models import NasBench201Space
from ..pipeline.errors import UserError
from ..pipeline.ranking.certificate import accuracy_gap
from ..pipeline.ranking.metrics import FIGURES, Agreement, agreement, bootstrap, interval_of

app = typer.Typer(help=__doc__, rich_markup_mode=None)

FULL_EPOCHS, FULL_BATCH = 50, 128
"""What the paper trains a supernet of NAS-Bench-201 for; a shorter training is called reduced."""

# What every run of a study must share, or their figures would not compare: sections or keys of `config.yaml`.
_SHARED = ("space", "data", "proxy", "scoring")
_RECIPE = ("epochs", "warmup_epochs", "batch_size", "lr", "momentum", "nesterov", "weight_decay", "label_smoothing")
_RECIPE += ("init", "shared_gradients", "unsampled")
_SHOWN = {
    "strict": "strict fairness (FairNAS)",
    "independent": "independent paths, one step for all",
    "expectation": "expectation fairness, k = 6, lr",
    "expectation-scaled": "expectation fairness, k = 6, lr / 6",
    "spos": "SPOS, k = 1",
    "one-shot": "One-Shot, path dropout",
    "proportional": "proportional to model size (Balanced NAO)",
}


@dataclass(frozen=True)
class Judged:
    """A supernet and its certificate."""

    folder: Path
    certificate: dict[str, Any]
    config: dict[str, Any]
    manifest: dict[str, Any]
    architectures: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray

    @property
    def sampling(self) -> str:
        """How its paths were drawn."""
        return self.certificate["supernet"]["sampling"]


@app.callback()
def _main() -> None:
    """Keeps `collect` a command of its own."""


@app.command()
def collect(
    results: Path, runs: list[Path], resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 2000
) -> None:
    """Write RESULTS from the certificates of RUNS."""
    try:
        write_json(results, merge([read_run(run) for run in runs], resamples))
    except UserError as error:
        raise typer.BadParameter(str(error)) from None


def read_run(folder: Path) -> Judged:
    """What a run folder says about its ranking.

    Raises:
        UserError: it has no finished certificate, or its supernet was trained again since.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        certificate = json.loads((folder / "rank" / "certificate.json").read_text())
        config = yaml.safe_load((folder / "config.yaml").read_text())
        with (folder / "rank" / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no certificate ({error}): run `fairnas rank --run {folder}` first") from None
    stages = manifest["stages"]
    if "rank" not in stages or (
        stages["rank"]["inputs"]["supernet"] != stages["supernet"]["outputs"]["weights.safetensors"]
    ):
        raise UserError(
            f"the certificate of {folder} is of an earlier supernet: run `fairnas rank --run {folder}` again"
        )
    return Judged(
        folder,
        certificate,
        config,
        manifest,
        tuple(row["architecture"] for row in rows),
        np.array([float(row["oneshot"]) for row in rows]),
        np.array([float(row["truth"]) for row in rows]),
    )


def merge(runs: Sequence[Judged], resamples: int) -> dict[str, Any]:
    """The results file: one entry per sampling, and what distinguishes strict fairness from each other one.

    Raises:
        UserError: the runs do not compare: other architectures, images, sizes or truth.
    """
    _check_alike(runs)
    by_sampling: dict[str, list[Judged]] = defaultdict(list)
    for run in runs:
        by_sampling[run.sampling].append(run)
    entries = {sampling: _entry(group, resamples) for sampling, group in by_sampling.items()}
    strict = by_sampling.get("strict")
    for sampling, group in by_sampling.items():
        if strict and sampling != "strict":
            entries[sampling]["strict_is_ahead_by"] = _lead(strict, group, resamples)
    first = runs[0]
    return {
        **entries,
        "truth": first.certificate["truth"],
        "space": first.config["space"],
        "commit": first.manifest["commit"],
        "machine": _machine(first.manifest),
        "versions": first.manifest["versions"],
    }


def to_markdown(figures: Mapping[str, Any]) -> str:
    """A table of the samplings, best first, with the protocol in words above it."""
    entries = {name: entry for name, entry in figures.items() if isinstance(entry, dict) and "tau_b" in entry}
    order = sorted(entries, key=lambda name: entries[name]["tau_b"] or 0, reverse=True)
    protocol, machine = entries[order[0]]["protocol"], figures["machine"]
    header = ["sampling", "tau-b", "95% interval", "per seed", "strict fairness ahead by", "pairwise accuracy"]
    header += ["one-shot accuracies", "passes"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name in order:
        entry = entries[name]
        low, high = entry["oneshot_range"]
        lines.append(
            [
                _SHOWN.get(name, name),
                _three_digits(entry["tau_b"]),
                f"{_three_digits(entry['low'])} to {_three_digits(entry['high'])}",
                ", ".join(_three_digits(seed["tau_b"]) for seed in entry["per_seed"]),
                _ahead(entry.get("strict_is_ahead_by")),
                _three_digits(entry["pairwise_accuracy"]["value"]),
                f"{low:.1%} to {high:.1%}",
                f"{entry['backward_passes']:,.0f}",
            ]
        )
    for name, interval in entries[order[0]]["baselines"].items():
        low, high = (_three_digits(interval[end]) for end in ("low", "high"))
        lines.append(
            [f"no supernet: {name}", _three_digits(interval["value"]), f"{low} to {high}", "", "", "", "", "0"]
        )
    shorter = f"{protocol['cells']} cell(s) per stage, " if protocol.get("cells") else ""
    intro = (
        f"{protocol['kind'].capitalize()} protocol: {protocol['train_images']:,} training images at "
        f"{protocol['resolution']} px, width {protocol['width']:g}, {shorter}{protocol['epochs']} epochs of strict "
        f"fairness or as many backward passes, batch {protocol['batch_size']}, learning rate {protocol['lr']:g}; "
        f"scored on {protocol['heldout_images']:,} held-out images, batch norm: {protocol['bn']}; "
        f"n = {entries[order[0]]['n']:,} architectures ({protocol['architectures']}), truth: "
        f"{figures['truth'].get('column', 'trained networks')}. {machine['processor']}, {machine['threads']} thread(s)."
    )
    return intro + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ahead(lead: Mapping[str, Any] | None) -> str:
    if lead is None:
        return ""
    low, high = (f"{lead[end]:+.3f}" if lead[end] is not None else "undefined" for end in ("low", "high"))
    return f"{lead['value']:+.3f} ({low} to {high})"


def _three_digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _check_alike(runs: Sequence[Judged]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.architectures != first.architectures or not np.array_equal(run.truth, first.truth):
            raise UserError(f"{run.folder} was judged on other architectures or another truth than {first.folder}")
        different = [key for key in _SHARED if run.config[key] != first.config[key]]
        different += [f"supernet.{key}" for key in _RECIPE if _recipe(run).get(key) != _recipe(first).get(key)]
        if different:
            raise UserError(f"{run.folder} differs from {first.folder} in {', '.join(different)}: they do not compare")
    seen: set[tuple[str, int]] = set()
    for run in runs:
        key = (run.sampling, run.config["seed"])
        if key in seen:
            raise UserError(f"{run.folder}: there is another run of sampling {key[0]} with seed {key[1]}")
        seen.add(key)


def _recipe(run: Judged) -> dict[str, Any]:
    return {key: run.config["supernet"].get(key) for key in _RECIPE}


def _entry(group: Sequence[Judged], resamples: int) -> dict[str, Any]:
    values = _mean_agreement([agreement(run.scores, run.truth) for run in group])
    intervals = bootstrap(_two_level(group), resamples, 0.95, seed=0)
    shown = {name: interval_of(getattr(values, name), intervals[name]) for name in FIGURES}
    gaps = [accuracy_gap(run.scores, run.truth) for run in group]
    lows, highs = zip(*(gap["oneshot_range"] for gap in gaps), strict=True)  # pyright: ignore[reportArgumentType]
    return {
        "tau_b": shown["tau_b"]["value"],
        "low": shown["tau_b"]["low"],
        "high": shown["tau_b"]["high"],
        "n": len(group[0].truth),
        "backward_passes": group[0].certificate["supernet"]["backward_passes"],
        "seeds": len(group),
        "protocol": _protocol(group[0]),
        "interval": "95% percentile bootstrap of the mean over seeds; each resample draws architectures, the same for "
        "all seeds, and seeds, both with replacement"
        if len(group) > 1
        else "95% percentile bootstrap over architectures; one seed, so how seeds differ is not in it",
        "spearman": shown["spearman"],
        "pairwise_accuracy": shown["pairwise_accuracy"],
        "oneshot_range": [min(lows), max(highs)],
        "baselines": {name: part["tau_b"] for name, part in group[0].certificate["baselines"].items()},
        "delta_standalone": gaps[0]["delta_standalone"],
        "lambda": round(float(np.mean([gap["lambda"] for gap in gaps])), 6),
        "per_seed": [_of_seed(run) for run in group],
    }


def _of_seed(run: Judged) -> dict[str, Any]:
    certificate = run.certificate
    tau = certificate["tau_b"]
    stages = run.manifest["stages"]
    return {
        "seed": run.config["seed"],
        "tau_b": tau["value"],
        "low": tau["low"],
        "high": tau["high"],
        "spearman": certificate["spearman"]["value"],
        "pairwise_accuracy": certificate["pairwise_accuracy"]["value"],
        "pairs": certificate["pairs"],
        "oneshot_range": certificate["gap"]["oneshot_range"],
        "subsets": {name: part["tau_b"] | {"n": part["n"]} for name, part in certificate["subsets"].items()},
        "bn_modes": {mode["bn"]: mode["tau_b"] | {"n": mode["n"]} for mode in certificate["bn_modes"]},
        "top": certificate["selection"]["top"],
        "backward_passes": certificate["supernet"]["backward_passes"],
        "supernet_seconds": stages["supernet"]["seconds"],
        "supernet_resumed": stages["supernet"]["resumed"],  # then the seconds are those since the last resumption
        "scoring_seconds": certificate["seconds"],
    }


def _two_level(group: Sequence[Judged]) -> Any:
    """Draws of the mean over seeds: architectures are shared by the seeds, so one draw of them serves all."""

    def draw(rng: np.random.Generator) -> Agreement:
        chosen = rng.integers(len(group[0].truth), size=len(group[0].truth))
        seeds = rng.integers(len(group), size=len(group))
        known = {seed: agreement(group[seed].scores[chosen], group[seed].truth[chosen]) for seed in set(seeds.tolist())}
        return _mean_agreement([known[seed] for seed in seeds.tolist()])

    return draw


def _lead(strict: Sequence[Judged], other: Sequence[Judged], resamples: int) -> dict[str, Any] | None:
    """How far strict fairness is ahead in tau-b, over the seeds that both have; None where they share none.

    Both are resampled on the same architectures. Seeds differ by more than samplings do, so others would not compare.
    """
    shared = {run.config["seed"] for run in strict} & {run.config["seed"] for run in other}
    if not shared:
        return None
    strict, other = ([run for run in group if run.config["seed"] in shared] for group in (strict, other))

    def draw(rng: np.random.Generator) -> Agreement:
        seed = int(rng.integers(2**32))
        ours, theirs = (_two_level(group)(np.random.default_rng(seed)) for group in (strict, other))
        return Agreement(*(getattr(ours, name) - getattr(theirs, name) for name in FIGURES))

    ours, theirs = (_mean_agreement([agreement(run.scores, run.truth) for run in group]) for group in (strict, other))
    interval = bootstrap(draw, resamples, 0.95, seed=0)["tau_b"]
    return interval_of(ours.tau_b - theirs.tau_b, interval) | {"seeds": len(shared)}


def _mean_agreement(several: Sequence[Agreement]) -> Agreement:
    return Agreement(*(float(np.mean([getattr(one, name) for one in several])) for name in FIGURES))


def _protocol(run: Judged) -> dict[str, Any]:
    """What decides the figures, so that a reduced protocol is seen to be one."""
    config, judged = run.config, run.certificate["protocol"]
    supernet, data, proxy = config["supernet"], config["data"], config["proxy"]
    reductions = []
    if supernet["epochs"] < FULL_EPOCHS:
        reductions.append(f"{supernet['epochs']} epochs instead of {FULL_EPOCHS}")
    if supernet["batch_size"] != FULL_BATCH:
        reductions.append(f"batch {supernet['batch_size']} instead of {FULL_BATCH}")
    if data.get("train_images"):
        reductions.append(f"{data['train_images']:,} training images instead of all")
    if proxy["resolution"] != 32:
        reductions.append(f"{proxy['resolution']} px instead of 32")
    if proxy["width"] != 1:
        reductions.append(f"width {proxy['width']:g} instead of 1")
    if proxy.get("cells"):
        reductions.append(f"{proxy['cells']} cells per stage instead of {NasBench201Space.CELLS}")
    spacing = judged["spacing"] if judged["spaced_by"] is None else f"{judged['spacing']} of {judged['spaced_by']}"
    return {
        "kind": "reduced" if reductions else "full",
        "reduced": reductions,
        "dataset": judged["dataset"],
        "train_images": judged["train_images"],
        "heldout_images": judged["heldout_images"],
        "resolution": proxy["resolution"],
        "width": proxy["width"],
        "cells": proxy.get("cells"),
        **_recipe(run),
        "augment": supernet["augment"],
        "bn": judged["bn"],
        "calibration_images": judged["calibration_images"],
        "architectures": f"{'all' if judged['spacing'] == 'all' else spacing}, of {judged['of']:,}",
        "ties": judged["ties"],
    }


def _machine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest["machine"].items() if key != "system"}


if __name__ == "__main__":
    app()
