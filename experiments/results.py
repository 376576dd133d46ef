"""Results files and the tables of the documentation, both written by commands and never by hand.

`python -m fairnas.experiments.results collect NAME RUN` writes results/NAME.json from a run folder, and
`python -m fairnas.experiments.results tables` the tables of the pages in docs/ from results/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
import yaml

from ..common.files import write_atomic, write_json
from ..pipeline.runs.provenance import ROOT, commit, machine
from ..pipeline.runs.run import versions

RESULTS, DOCS = ROOT / "results", ROOT / "docs"

app = typer.Typer(help=__doc__, rich_markup_mode=None)


@app.command()
def collect(name: str, run: Path) -> None:
    """Write results/NAME.json from a finished run folder."""
    write_json(RESULTS / f"{name}.json", summarise(run))


@app.command()
def latency_host(answers: list[Path]) -> None:
    """Write results/latency_host.json from what separate `fairnas profile --validate --json` printed."""
    runs = [json.loads(path.read_text()) for path in answers]
    if any(run["n"] < 60 or run["device"] != runs[0]["device"] for run in runs):
        raise typer.BadParameter("expected runs on one device, each validated on 60 networks")
    errors = ("n", "mape", "p90", "within_5", "within_10", "interval_coverage", "bias_before")
    steady = ("state", "figure", "moved", "networks", "settled", "disturbed", "others")
    wanted = (*errors, "spearman", "remeasure_spearman", "spearman_gap_interval", "blocks", "seconds", *steady)
    worst = {key: max(run[key] for run in runs) for key in ("mape", "seconds")}
    worst |= {key: min(run[key] for run in runs) for key in ("within_5", "within_10", "spearman", "remeasure_spearman")}
    device = {key: value for key, value in runs[0]["device"].items() if key != "os"}
    write_json(
        RESULTS / "latency_host.json",
        {
            **worst,
            "figures": "the worst of the runs",
            "protocol": "space b at 224 px, width 1, one thread; calibrated on 10 networks, these are 60 others "
            "stratified over latency; predicted in the second of two sessions, which is also that of measuring again",
            "runs": [{key: run[key] for key in wanted} for run in runs],
            "device": device,
            "seeds": 1,
            "machine": {key: value for key, value in machine().items() if key != "system"},
            "versions": versions(),
            "commit": commit(),
        },
    )


@app.command()
def tables() -> None:
    """Write the tables of all pages in docs/ again, and the pictures that they show."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        if (filled := with_tables(text)) != text:
            write_atomic(page, filled)
    for picture in sorted(RESULTS.glob("*.svg")):  # a site shows only what lies in its own folder
        write_atomic(DOCS / picture.name, picture.read_text())


def summarise(run: Path) -> dict[str, Any]:
    """The figures of a run, from its own files."""
    manifest = json.loads((run / "manifest.json").read_text())
    scores = json.loads((run / "oneshot" / "scores.json").read_text())
    picks = [_summarise_pick(run / "export" / p["name"]) for p in json.loads((run / "picks/picks.json").read_text())]
    return {
        "supernet_top1_mean": scores["heldout_top1_mean"],
        "supernet_top1_spread": scores["heldout_top1_std"],
        "supernet_paths": scores["paths"],
        "supernet_images": scores["images"],
        "best_top1": max(pick["top1"] for pick in picks),
        "picks": picks,
        "protocol": _protocol(run),
        "resumed": any(stage.get("resumed", False) for stage in manifest["stages"].values()),
        "seconds": round(sum(stage["seconds"] for stage in manifest["stages"].values()), 1),
        "seconds_by_stage": {name: stage["seconds"] for name, stage in manifest["stages"].items()},
        "seeds": 1,
        "seed": manifest["stages"]["supernet"]["config"]["seed"],
        "machine": {key: manifest["machine"][key] for key in ("processor", "cores", "threads")},
        "versions": manifest["versions"],
        "commit": manifest["commit"],
    }


def _protocol(run: Path) -> dict[str, Any]:
    """What decides the figures, so that a reduced protocol is seen to be one."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    wanted = {
        "supernet": ("epochs", "batch_size", "lr", "init", "shared_gradients"),
        "search": ("population", "generations", "constraints"),
        "retrain": ("epochs", "batch_size", "lr", "init"),
    }
    sizes = {name: config[name] for name in ("proxy", "deploy")}
    return sizes | {section: {key: config[section][key] for key in keys} for section, keys in wanted.items()}


def _summarise_pick(folder: Path) -> dict[str, Any]:
    passport = json.loads((folder / "passport.json").read_text())
    record = next(record for record in passport["formats"] if record["status"] == "written")
    latency = {entry["kind"]: entry for entry in record["latency"]}
    return {
        "name": passport["name"],
        "architecture": passport["architecture"],
        "resolution": passport["resolution"],
        "width": passport["width"],
        "params": passport["params"],
        "madds": passport["madds"],
        "top1": record["accuracy"]["exported_top1"],
        "top1_images": record["accuracy"]["images"],
        "latency_ms_predicted": latency["predicted"]["latency_ms"],
        "latency_ms_measured": latency["measured"]["latency_ms"],
        "latency_device": latency["measured"]["device"],
    }


def with_tables(text: str) -> str:
    """A page with every `<!-- table: NAME -->` ... `<!-- end -->` filled in from results/NAME.json."""
    # These take a second to import, and only this command needs them.
    from .deploy import to_markdown as deploy_markdown
    from .detection.markdown import to_markdown as detection_markdown
    from .latency_fits.markdown import latency_fits_markdown
    from .latency_load import to_markdown as load_markdown
    from .ranking import to_markdown as ranking_markdown
    from .search.study import to_markdown as search_markdown
    from .segmentation.markdown import to_markdown as segmentation_markdown
    from .warm_start import to_markdown

    writers: dict[str, Callable[[dict[str, Any]], str]] = {
        "cifar10_cpu": _cifar10_cpu,
        "latency_host": _latency_host,
        "latency_under_load": load_markdown,
        "latency_fits": latency_fits_markdown,
        "warm_start": to_markdown,
        "search_hypervolume": search_markdown,
        "scoring_macro": _scoring_macro,
        "deploy_imagenette": deploy_markdown,
        "detection": detection_markdown,
        "segmentation": segmentation_markdown,
        "ranking_macro": ranking_markdown,
        "ranking_nasbench201": ranking_markdown,
    }

    def fill(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[1]}.json"
        shown = writers[match[1]](json.loads(path.read_text())) if path.exists() else "Not run yet."
        return f"<!-- table: {match[1]} -->\n\n{shown}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def _cifar10_cpu(figures: dict[str, Any]) -> str:
    rows = [
        [
            pick["name"],
            f"{pick['top1']:.2%}",
            f"{pick['latency_ms_predicted']:.2f} ms",
            f"{pick['latency_ms_measured']:.2f} ms",
            f"{pick['madds'] / 1e6:.1f}M",
            f"{pick['params'] / 1e6:.2f}M",
        ]
        for pick in figures["picks"]
    ]
    first = figures["picks"][0]
    return (
        f"Supernet, one-shot top-1: {figures['supernet_top1_mean']:.1%}, standard deviation "
        f"{figures['supernet_top1_spread']:.1%} over {figures['supernet_paths']} random paths, on "
        f"{figures['supernet_images']:,} held-out training images. Whole run: {figures['seconds'] / 60:.0f} minutes on "
        f"{figures['machine']['threads']} of {figures['machine']['cores']} cores ({figures['machine']['processor']}), "
        f"one seed. Networks at "
        f"{first['resolution']} px, width {first['width']:g}; top-1 on {first['top1_images']:,} validation images.\n\n"
        + _markdown(["", "top-1", "predicted", "measured", "multiply-adds", "parameters"], rows)
    )


def _latency_host(figures: dict[str, Any]) -> str:
    rows = [
        [
            str(number),
            run["state"].replace("unvalidated", "not validated"),
            f"{run['moved']:.1%}",
            f"{run['mape']:.2%}",
            f"{run['within_5']:.0%}",
            f"{run['within_10']:.0%}",
            f"{run['interval_coverage']:.0%}",
            f"{run['bias_before']:+.1%}",
            f"{run['spearman']:.4f}",
            f"{run['remeasure_spearman']:.4f}",
            f"{run['seconds']:.0f} s",
        ]
        for number, run in enumerate(figures["runs"], start=1)
    ]
    header = ["run", "gate", "references moved", "mean error", "within 5%", "within 10%", "inside the interval"]
    header += ["sum of blocks alone", "Spearman", "Spearman of measuring again", "time in all"]
    return (
        f"{figures['device']['name']}, {figures['device']['runtime']}: {figures['runs'][0]['blocks']} blocks, then "
        f"{figures['protocol']}.\n\n" + _markdown(header, rows)
    )


def _scoring_macro(figures: dict[str, Any]) -> str:
    parts, plain_parts = figures["parts_run"], figures["parts_run_one_by_one"]
    rows = [
        ["paths as a tree", _minutes(figures["seconds"]), f"{parts:,}"],
        ["one by one (estimate)", _minutes(figures["seconds_one_by_one_estimated"]), f"{plain_parts:,}"],
    ]
    return (
        f"All {figures['architectures']:,} given networks of NAS-Bench-Macro on {figures['images']:,} images of "
        f"{figures['protocol']['resolution']} px, width {figures['protocol']['width']:g}, float32, "
        f"{figures['threads']} threads ({figures['machine']['processor']}). The estimate is from "
        f"{figures['one_by_one_architectures']} of them, whose predictions agree in {figures['top1_agreement']:.2%} "
        f"of {figures['predictions_compared']:,}.\n\n" + _markdown(["", "time", "parts of networks run"], rows)
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    app()
