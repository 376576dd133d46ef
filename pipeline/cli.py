"""The `fairnas` command."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..common.errors import FairnasError
from ..common.text import shown
from .console import announce, console
from .errors import Paused, UserError

if TYPE_CHECKING:
    from ..models import AnyNetwork
    from .pipeline import Pipeline

INTERRUPTED = 130  # what shells report for Ctrl-C
PAUSED = 75  # EX_TEMPFAIL of sysexits.h: try again
WITHHELD = 3  # some of what was asked for is not there

app = typer.Typer(
    name="fairnas",
    help="From a folder of images and a target device to deployable networks that keep a latency promise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

device_app = typer.Typer(help="What devices need in order to be measured.", no_args_is_help=True)
app.add_typer(device_app, name="device")

TargetOption = Annotated[str | None, typer.Option("--target", help="Where to deploy: see `fairnas targets`.")]
PresetOption = Annotated[
    str, typer.Option("--preset", help="quickstart, cifar10, imagenet, imagenet-se, ... or the path of a YAML file.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="A folder with train/CLASS/* and val/CLASS/*, or cifar10, cifar100, imagenet, digits."),
]
RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder. Default: runs/TARGET-PRESET.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. --set supernet.epochs=3. Repeatable."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
ForceOption = Annotated[str | None, typer.Option("--force", metavar="STAGE", help="Run again from this stage on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on standard output.")]
SerialOption = Annotated[str | None, typer.Option(help="Of the phone, where several are attached: see adb devices.")]
HostOption = Annotated[str | None, typer.Option(help="Of the board: user@address, or a name known to ssh.")]
ThreadsOption = Annotated[int, typer.Option(help="Threads that a network runs on; this machine's CPU uses 1.", min=1)]
CpusOption = Annotated[str | None, typer.Option(help="Cores of phones and boards: big, little, or such as 4-7.")]
AarOption = Annotated[Path | None, typer.Option("--ort-aar", help="ONNX Runtime for Android to use instead of ours.")]
AllowOption = Annotated[
    bool, typer.Option("--allow-unvalidated", help="Search also with a table that failed its check, or had none.")
]
NetworksArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NETWORK]...", help="fairnas_a, fairnas_b_se, ... or an architecture such as b:E3K7-..."),
]


@app.command()
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
    given = [*(overrides or []), *_device_overrides(allow_unvalidated, serial, host)]
    with _opened(target, preset, data, run, given, seed, force) as work:
        work.everything()
        _show_exports(work, list(work.picks()), as_json)


@app.command()
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
    with _opened(target, preset, data, run, overrides, seed, force) as work:
        if stop_after is not None:
            work.run.deadline = time.monotonic() + 60 * stop_after
        work.supernet()
        scores = json.loads((work.run.folder / "oneshot" / "scores.json").read_text())
        _answer(
            as_json,
            scores,
            f"one-shot top-1 on {scores['images']} held-out images: {scores['heldout_top1_mean']:.1%} "
            f"± {scores['heldout_top1_std']:.1%} over {scores['paths']} random paths",
        )


@app.command()
def profile(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="ONNX files or timm models; without, the space.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="What to measure: see `fairnas targets`.")] = "cpu",
    space: Annotated[str, typer.Option(help="Search space whose blocks are measured.")] = "b",
    resolution: Annotated[int, typer.Option(help="Height and width of the images, in pixels.", min=32)] = 224,
    width: Annotated[float, typer.Option(help="Multiplier of every channel count.", min=0.1)] = 1.0,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 1000,
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    validate: Annotated[
        bool, typer.Option("--validate", help="Check on 60 whole networks, not 20 (--from: none).")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Rounds at most; times that have settled need fewer.", min=3)] = 100,
    warm_start_from: Annotated[
        str | None, typer.Option("--from", metavar="TABLE", help="Scale this table by a few timings instead.")
    ] = None,
    timings: Annotated[int, typer.Option(help="How many timings scale the table of --from.", min=4)] = 20,
    sustained: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Run each MODEL that long: what heat leaves of its speed.")
    ] = None,
    input_size: Annotated[str | None, typer.Option(help="Of the MODELs, such as 1x3x224x224.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the table, or JSON file of the MODELs' times.")] = None,
    serial: SerialOption = None,
    host: HostOption = None,
    threads: ThreadsOption = 1,
    cpus: CpusOption = None,
    ort_aar: AarOption = None,
    listen: Annotated[str, typer.Option(help="Address that the browser's page is served on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of that page.")] = 8123,
    as_json: JsonOption = False,
) -> None:
    """Measure a device: a latency table of a space, or the latency of any ONNX file or timm model.

    fairnas profile --target cpu mobilenetv3_large_100

    fairnas profile --target board --host pi@raspberrypi --validate

    Interrupted or unplugged? The same command goes on where it stopped.
    """
    from ..latency_tables import DeviceOptions, Plan, Rounds
    from . import profile as profiling

    options = DeviceOptions(serial, host, threads, cpus, ort_aar, listen, port, announce)
    how_often = Rounds(least=min(20, rounds), most=rounds)
    if models:
        device = profiling.attached_device(target, options)
        rows = profiling.profile_models(device, models, input_size, how_often, sustained, out)
        _table(as_json, rows, ("model", "latency_ms", "median_ms", "p90_ms", "cold_ms", "rounds"))
        return
    if precision not in ("fp32", "int8"):
        raise UserError(f"--precision {precision}: choose fp32 or int8")
    networks = 60 if validate else 0 if warm_start_from else 20
    plan = Plan(how_often, precision, validation=networks)  # pyright: ignore[reportArgumentType]
    device = profiling.attached_device(target, options)
    size = space, resolution, width, classes
    if warm_start_from is not None:
        summary = profiling.scale_table(device, warm_start_from, timings, *size, plan, out)
    else:
        summary = profiling.profile_table(device, *size, plan, out)
    _answer(as_json, summary, profiling.in_words(summary))


@app.command()
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
    given = [*(overrides or []), *_device_overrides(allow_unvalidated, serial, host)]
    if storage is not None:
        given.append(f"search.storage={json.dumps(storage)}")
    with _opened(target, preset, data, run, given, seed, force) as work:
        work.search()
        picks = json.loads((work.run.folder / "picks" / "picks.json").read_text())
        lines = [
            f"{p['name']}  top-1 {p['accuracy']:.1%}  {p['latency_ms']:.2f} ms "
            f"({p['latency_low_ms']:.2f} to {p['latency_high_ms']:.2f}"
            + (f", measured {p['measured_ms']:.2f}" if "measured_ms" in p else "")
            + f")  {p['madds'] / 1e6:.1f}M multiply-adds"
            for p in picks
        ]
        _answer(as_json, picks, "\n".join(lines))


@app.command()
def retrain(
    networks: NetworksArgument = None,
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train networks stand-alone: the search's picks, or the ones named."""
    named = _parse_networks(networks)
    with _opened(target, preset, data, run, overrides, seed, force) as work:
        work.check_trainable(named or {})
        chosen = _prepare(work, named)
        work.retrain(chosen)
        results = [json.loads((work.run.folder / "retrain" / name / "result.json").read_text()) for name in chosen]
        _answer(as_json, results, "\n".join(f"{r['name']}  top-1 {r['val_top1']:.1%}" for r in results))


@app.command()
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
    from .transfer import find_trained

    trained = find_trained(_parse_networks([network] if network else None), weights)
    with _opened(target, preset, data, run, [*trained.settings, *(overrides or [])], seed, force) as work:
        name = work.transfer(trained)
        result = json.loads((work.run.folder / "retrain" / name / "result.json").read_text())
        _answer(as_json, result, f"{name}  top-1 {result['val_top1']:.1%}")


@app.command()
def export(
    networks: NetworksArgument = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", help="onnx[-fp16|-int8], tensorrt[-fp16|-int8], litert[-int8]; several: commas."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors of the network, which then is not trained here.")
    ] = None,
    hard_swish: Annotated[
        bool, typer.Option("--hard-swish", help="Put hard-Swish in the place of Swish and fine-tune: 8 bits suit it.")
    ] = False,
    write_anyway: Annotated[
        bool, typer.Option("--write-anyway", help="Also write formats that fail their check; the passport says so.")
    ] = False,
    sustained: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Run every ONNX file that long: what heat leaves.")
    ] = None,
    sign_with: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign the checksums with this ssh key.")] = None,
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export networks (the picks, or the ones named) in any format, each compared with PyTorch, with a passport.

    fairnas export fairnas_c --format onnx,onnx-int8,litert --data images

    fairnas export mobilenetv3_large_100 --weights mine.safetensors --format onnx-int8 --data images

    fairnas export my_package.my_module:make_network --format onnx

    Ours are trained first, unless --weights are given. Others are exported as they are.

    The exit code is 3 where a format that was asked for is withheld.
    """
    given = [*(overrides or []), *_export_overrides(formats, write_anyway, sustained, sign_with)]
    named = _parse_networks(networks)
    if weights is not None and (named is None or len(named) != 1 or hard_swish):
        raise UserError("--weights are of one network: name it, and without --hard-swish, which needs training")
    with _opened(target, preset, data, run, given, seed, force) as work:
        from .export import NetworksRefused
        from .pipeline import hard_swish_networks, ours

        if named is not None and weights is None:
            work.check_trainable(ours(named))
        if named is not None:
            # First: a table that cannot price a network is known before it is trained.
            work.latency(hard_swish_networks(named) if hard_swish else named)
        if named is not None and weights is not None:
            chosen = named
        else:
            chosen = _prepare(work, named)
            work.retrain(ours(chosen))
            chosen = work.with_hard_swish(chosen) if hard_swish else chosen
        try:
            work.export(chosen, latency_of_each=named is not None, weights=weights)
        except NetworksRefused as error:
            if as_json:  # the answers about the others
                _show_exports(work, list(chosen), as_json, error.reasons)
            raise
        withheld = _show_exports(work, list(chosen), as_json)
    if formats is not None and withheld:
        raise typer.Exit(WITHHELD)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="An export folder: it holds passport.json and SHA256SUMS.")],
    allowed_signers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who may have signed, in ssh-keygen's form; others fail.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The images that it was judged on: measure its accuracy again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported network from its files: every digest, the passport, the models, the signature."""
    from dataclasses import asdict

    from ..exporters.verify import failures
    from ..exporters.verify import verify as verify_folder

    remeasure = None
    if data is not None:
        from .data import load_dataset
        from .remeasure import remeasured

        dataset = load_dataset(data, heldout=0.2, seed=0)  # only its validation images are looked at
        remeasure = partial(remeasured, dataset=dataset)
    findings = verify_folder(folder, allowed_signers=allowed_signers, remeasure=remeasure)
    _table(as_json, [asdict(finding) for finding in findings], ("file", "what", "outcome", "reason"))
    if failed := failures(findings):
        raise UserError(f"{folder} does not verify: {', '.join(sorted(failed))}")


@app.command()
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
    own = run / "config.yaml" if run else None
    source = preset or (str(own) if own and own.is_file() else "quickstart")
    with _opened(target, source, data, run, given, seed, force) as work:
        work.rank(truth, column)
        work.report()
        from .ranking.summary import in_words

        certificate = json.loads((work.run.folder / "rank" / "certificate.json").read_text())
        _answer(as_json, certificate, in_words(certificate))


@app.command()
def report(
    target: TargetOption = None,
    preset: PresetOption = "quickstart",
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write RUN/report/index.html from what the run folder holds."""
    from .config import load_config
    from .report import write_report
    from .runs import Run

    folder = run or Path("runs") / f"{load_config(preset, target=target).target}-{Path(preset).stem}"
    if not (folder / "manifest.json").is_file():
        raise UserError(f"{folder} is not a run folder: it has no manifest.json")
    with Run(folder):
        path = write_report(folder)
    _answer(as_json, {"path": str(path)}, str(path))


@device_app.command()
def bundle(
    abi: Annotated[str, typer.Option(help="arm64-v8a (Android), aarch64 or x86_64 (Linux with glibc).")] = "arm64-v8a",
    ort_aar: AarOption = None,
    with_loader: Annotated[bool, typer.Option(help="Carry glibc too, for Linux systems that have none.")] = False,
    out: Annotated[Path | None, typer.Option(help="Copy it to this new folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build what runs models on a phone or board: our runner, from source, and ONNX Runtime.

    Profiling does this by itself; it is for looking, and for devices that somebody else connects to.
    """
    from ..latency_tables.bundle import build_bundle, copy_bundle

    built = build_bundle(abi, ort_aar, with_loader=with_loader, progress=lambda text: console.print(f"        {text}"))
    built = copy_bundle(built, out) if out else built
    command = " ".join(built.command("."))
    answer = {
        "folder": str(built.folder),
        "abi": built.abi,
        "runtime": built.runtime,
        "files": dict(built.files),
        "command": command,
    }
    _answer(as_json, answer, f"{built.folder}: ONNX Runtime {built.runtime}, {len(built.files)} files; {command}")


@app.command()
def targets(as_json: JsonOption = False) -> None:
    """List the targets, and the tables that price their blocks: device, error, age and state."""
    from .targets import known_tables, known_targets

    if as_json:
        print(json.dumps({"targets": known_targets(), "tables": known_tables()}, indent=1))
        return
    _table(False, known_targets(), ("name", "title", "measured by", "table"))
    _table(False, known_tables(), ("table", "device", "kind", "precision", "error", "age", "state"))


@app.command()
def models(
    resolution: Annotated[int, typer.Option(help="Height and width of the input, in pixels.", min=32)] = 224,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List the published networks and the extremes of both spaces with exact parameters and multiply-adds."""
    from ..models import PUBLISHED, get_space, list_spaces

    networks = dict(PUBLISHED)
    for space in list_spaces():
        networks |= {f"{space}-all-{choice}": get_space(space).uniform(choice) for choice in ("E3K3", "E6K7")}
    rows: list[dict[str, Any]] = []
    for name, architecture in networks.items():
        cost = get_space(architecture.space).cost(architecture, resolution, classes)
        rows.append(
            {
                "name": name,
                "params": cost.params,
                "madds": cost.madds,
                "madds_m": round(cost.madds / 1e6, 3),
                "se_ratio": architecture.se_ratio,
                "resolution": resolution,
                "classes": classes,
                "architecture": str(architecture),
            }
        )
    _table(as_json, rows, ("name", "params", "madds_m", "architecture"))


@contextmanager
def _opened(
    target: str | None,
    preset: str,
    data: str | None,
    run: Path | None,
    overrides: list[str] | None,
    seed: int | None,
    force: str | None,
) -> Iterator[Pipeline]:
    """The pipeline on its run folder. Configuration, target and images are checked before anything is written."""
    from .config import load_config

    sources = [f"data.source={json.dumps(data)}"] if data is not None else []
    config = load_config(preset, [*sources, *(overrides or [])], target=target, seed=seed)

    from ..latency_tables import get_target
    from . import ranks
    from .pipeline import STAGES, Pipeline, follow, open_dataset
    from .runs import Run

    get_target(config.target)
    if force is not None and force not in STAGES:
        raise UserError(f"unknown stage '{force}': choose from {', '.join(STAGES)}")
    with ranks.joined():
        if not ranks.is_first():
            follow(config)
            raise typer.Exit
        dataset = open_dataset(config)
        with Run(run or Path("runs") / f"{config.target}-{config.preset}") as held:
            if force is not None:
                held.forced = set(STAGES[STAGES.index(force) :])
            yield Pipeline(config, held, dataset)


def _device_overrides(allow_unvalidated: bool, serial: str | None, host: str | None) -> list[str]:
    """Options that have a short form, as the settings they stand for."""
    allowed = ["latency.allow_unvalidated=true"] if allow_unvalidated else []
    given = {"serial": serial, "host": host}
    return allowed + [f"latency.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def _export_overrides(
    formats: str | None, write_anyway: bool, sustained: float | None, sign_with: Path | None
) -> list[str]:
    """Options of `export` that have a short form, as the settings they stand for."""
    given = {
        "formats": formats.replace(" ", "").split(",") if formats is not None else None,
        "force": write_anyway or None,
        "sustained_s": sustained,
        "sign_with": str(sign_with) if sign_with is not None else None,
    }
    return [f"export.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def _parse_networks(texts: list[str] | None) -> dict[str, AnyNetwork] | None:
    if not texts:
        return None
    from ..models import parse_any_network
    from .pipeline import network_names

    try:
        return network_names([(text, parse_any_network(text)) for text in texts])
    except ValueError as error:
        raise UserError(str(error)) from None


def _prepare(work: Pipeline, named: Mapping[str, AnyNetwork] | None) -> Mapping[str, AnyNetwork]:
    """Run what must come before retraining, and say which networks it is about."""
    if named is None:
        work.search()
        return work.picks()
    from .pipeline import ours

    if work.config.retrain.init == "inherited" and ours(named):
        work.supernet()
    return named


def _show_exports(work: Pipeline, names: list[str], as_json: bool, refused: Mapping[str, str] | None = None) -> bool:
    """Print what was exported; returns whether a format that was asked for is not there."""
    from .export_table import read_passports, show_exports, withheld

    passports = read_passports(work.run.folder, [name for name in names if name not in (refused or {})])
    if as_json:
        answer = {"run": str(work.run.folder), "exported": passports}
        print(json.dumps(answer | ({"refused": dict(refused)} if refused else {}), indent=1))
    else:
        show_exports(work.run.folder, passports)
    return withheld(passports)


def _answer(as_json: bool, value: Any, text: str) -> None:
    print(json.dumps(value, indent=1) if as_json else text)


def _table(as_json: bool, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    shown = Table()
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(_cell(row[column])) for column in columns))
    type(console)().print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run the command.

    A user's mistake is one line and exit code 2, a format that was withheld is 3, Ctrl-C is 130, an agreed pause is 75.
    """
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Paused:
        console.print("[yellow]time is up: run the same command again to go on from where it stopped[/]")
        code = PAUSED
    except Exception as error:
        code = 2
        # A misspelt command line raises click's exceptions, and newer versions of typer carry a click of their own.
        if show_usage := getattr(error, "show", None):
            show_usage()
        elif isinstance(error, FairnasError | OSError):
            console.print(f"[red]error:[/] {shown(error)}", soft_wrap=True)
        else:
            raise
    if code == INTERRUPTED:  # which typer may have turned Ctrl-C into
        console.print("[yellow]stopped: run the same command again to go on from the last checkpoint[/]")
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
