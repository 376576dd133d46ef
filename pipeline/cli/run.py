"""Commands of a run: its stages, one by one or all, and what is known of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .answers import print_answer, print_exports
from .opened import DEFAULT_PRESET, device_overrides, opened, parse_networks, prepare, require_run
from .options import (
    AllowOption,
    DataOption,
    ForceOption,
    HostOption,
    JsonOption,
    NetworksArgument,
    OwnPresetOption,
    PresetOption,
    RunOption,
    SeedOption,
    SerialOption,
    SetOption,
    TargetOption,
)
from .streams import print_json, print_text


def pipeline(
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    allow_unvalidated: AllowOption = False,
    serial: SerialOption = None,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run everything: supernet, latency, search, retraining, export, report.

    Finished stages are reused, unfinished ones resume: after Ctrl-C, run the same command again.
    """
    given = [*(overrides or []), *device_overrides(allow_unvalidated, serial, host)]
    with opened(target, preset, data, run, given, seed, force) as work:
        work.everything()
        print_exports(work, list(work.picks()), as_json)


def supernet(
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    stop_after: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", help="Pause training then, with exit code 75; the same command goes on.", min=0
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the supernet, under strict fairness unless told otherwise, and score random paths of it."""
    with opened(target, preset, data, run, overrides, seed, force) as work:
        if stop_after is not None:
            work.run.deadline = time.monotonic() + 60 * stop_after
        work.supernet()
        from ..runs.figures import figures_of

        figures = "images", "heldout_top1_mean", "heldout_top1_std", "paths"
        scores = figures_of(work.run.folder / "oneshot" / "scores.json", *figures)
        print_answer(
            as_json,
            scores,
            f"one-shot top-1 on {scores['images']} held-out images: {scores['heldout_top1_mean']:.1%} "
            f"± {scores['heldout_top1_std']:.1%} over {scores['paths']} random paths",
        )


def search(
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    allow_unvalidated: AllowOption = False,
    serial: SerialOption = None,
    host: HostOption = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Share the search: postgresql://USER@HOST/DB (password: ~/.pgpass)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the supernet for the target.

    Limits: --set 'search.constraints=[latency_ms<=8, madds<=400e6]'; the default is the median network's latency.
    Others: latency_upper_ms, latency_int8_ms, params, and accuracy>=0.6.

    Faster: torchrun --nproc-per-node 4 -m -- fairnas.pipeline.cli search ...; or the same command with --storage on
    several machines, each with a copy of the run folder.

    Live: optuna-dashboard sqlite:///RUN/search/study.db
    """
    given = [*(overrides or []), *device_overrides(allow_unvalidated, serial, host)]
    if storage is not None:
        given.append(f"search.storage={json.dumps(storage)}")
    with opened(target, preset, data, run, given, seed, force) as work:
        work.search()
        from ..runs.picks_file import read_picks

        picks = read_picks(work.run.folder / "picks" / "picks.json", work.config.space)
        lines = [
            f"{p['name']}  top-1 {p['accuracy']:.1%}  {p['latency_ms']:.2f} ms "
            f"({p['latency_low_ms']:.2f} to {p['latency_high_ms']:.2f}"
            + (f", measured {p['measured_ms']:.2f}" if "measured_ms" in p else "")
            + f")  {p['madds'] / 1e6:.1f}M multiply-adds"
            for p in picks
        ]
        print_answer(as_json, picks, "\n".join(lines))


def retrain(
    networks: NetworksArgument = None,
    target: TargetOption = None,
    preset: OwnPresetOption = None,
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train networks stand-alone: the search's picks, or the ones named."""
    require_run(run, preset, data, overrides)
    named = parse_networks(networks)
    with opened(target, preset or DEFAULT_PRESET, data, run, overrides, seed, force, named) as work:
        work.check_trainable(named or {})
        chosen = prepare(work, named)
        work.retrain(chosen)
        from ..runs.figures import figures_of

        found = {n: figures_of(work.run.folder / "retrain" / n / "result.json", "val_top1") for n in chosen}
        lines = [f"{name}  top-1 {result['val_top1']:.1%}" for name, result in found.items()]
        print_answer(as_json, list(found.values()), "\n".join(lines))


def transfer(
    weights: Annotated[
        Path,
        typer.Option(help="A .safetensors, or a retrained network's folder: RUN/retrain/NAME.", show_default=False),
    ],
    network: Annotated[
        str | None, typer.Argument(help="Whose weights they are; a retrained network's folder says it itself.")
    ] = None,
    target: TargetOption = None,
    preset: PresetOption = "transfer",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a trained network on other classes: a new classifier, all else from its weights.

    fairnas transfer fairnas_a --weights fairnas_a.safetensors --data cifar10

    fairnas transfer --weights runs/pixel-imagenet/retrain/pick-1 --data cifar100
    """
    from .quick_checks import weights_file

    weights = weights_file(weights)

    from ..retrain.transfer import find_trained
    from ..runs.figures import figures_of

    trained = find_trained(parse_networks([network] if network else None), weights)
    with opened(target, preset, data, run, [*trained.settings, *(overrides or [])], seed, force) as work:
        name = work.transfer(trained)
        result = figures_of(work.run.folder / "retrain" / name / "result.json", "val_top1")
        print_answer(as_json, result, f"{name}  top-1 {result['val_top1']:.1%}")


def rank(
    truth: Annotated[
        Path | None, typer.Option(help="CSV of true accuracies: NAS-Bench-201, NAS-Bench-Macro, or your own.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the accuracies in it.")] = None,
    networks: Annotated[
        int | None, typer.Option(help="Without --truth: how many networks are trained stand-alone.", min=2)
    ] = None,
    architectures: Annotated[
        int | None, typer.Option(help="With --truth: how many of its architectures are scored; 0 for all.", min=0)
    ] = None,
    target: TargetOption = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Default: the configuration of the run folder, else quickstart.")
    ] = None,
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Certify how well the supernet ranks: its scores against true accuracies, with intervals.

    fairnas rank --run runs/macro --truth nas_bench_macro_cifar10.csv --column mean_acc

    fairnas rank --run runs/pixel-quickstart --networks 12

    Interrupted? The same command goes on where it stopped.
    """
    if truth is not None and networks is not None:
        raise UserError("--truth and --networks exclude each other: the truth is a table, or trained")
    if truth is None and (column is not None or architectures is not None):
        raise UserError("--column and --architectures belong to --truth FILE; networks to be trained are --networks N")
    given = list(overrides or [])
    if networks is not None:
        given.append(f"rank.networks={networks}")
    if architectures is not None:
        given.append(f"rank.architectures={architectures or 'null'}")
    require_run(run, preset, data, given)
    own = run / "config.yaml" if run else None
    source = preset or (str(own) if own and own.is_file() else DEFAULT_PRESET)
    with opened(target, source, data, run, given, seed, force) as work:
        work.rank(truth, column)
        work.report()
        from ..ranking.summary import in_words

        certificate = json.loads((work.run.folder / "rank" / "certificate.json").read_text())
        print_answer(as_json, certificate, in_words(certificate))


def report(
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write RUN/report/index.html from what the run folder holds."""
    from ..config import read_config
    from ..runs.folder import default_run

    folder = run or default_run(read_config(preset, target=target).target, Path(preset).stem)
    if not (folder / "manifest.json").is_file():
        raise UserError(f"{folder} is not a run folder: it has no manifest.json")

    from ..report import write_report
    from ..runs.run import Run

    with Run(folder) as held:
        path = write_report(folder)
        held.renew("report")
    print_answer(as_json, {"path": str(path)}, str(path))


def check(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: JsonOption = False,
) -> None:
    """Check a run folder from its files: the manifest, every output's digest, checkpoints, links, what is not ours.

    Exported networks are checked further by `fairnas verify RUN/export/NAME`.
    """
    from dataclasses import asdict

    from ..runs.check import check_run, failed

    findings = check_run(folder)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for each in findings:
            print_text(f"{each.outcome:6}  {each.path}  {each.what}" + (f": {each.reason}" if each.reason else ""))
    if wrong := failed(findings):
        named = ", ".join(each.path for each in wrong[:5])
        raise UserError(f"{folder}: {len(wrong)} of {len(findings)} checks failed: {named}")
