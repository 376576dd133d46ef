"""The `fairnas` command."""

from __future__ import annotations

import errno
import json
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ...common.errors import FairnasError
from ...common.reading import check_regular_file
from ...common.text import plain, redacted, shown
from ..console import announce, console
from ..errors import Paused, UserError
from ..runs import stopping
from .interrupts import INTERRUPTED, nothing_begun, raise_on_interrupt
from .streams import BROKEN_PIPE, drop_standard_output, flushed, forgive_standard_error, print_json, print_text

if TYPE_CHECKING:
    from ...models import AnyNetwork
    from ..config import Config
    from ..pipeline import Pipeline

DEFAULT_PRESET = "quickstart"
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
OwnPresetOption = Annotated[
    str | None, typer.Option("--preset", help="As of `fairnas pipeline`. Default: quickstart.", show_default=False)
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
ForceOption = Annotated[
    str | None,
    typer.Option(
        "--force", metavar="STAGE", help="Run it again, and what is made from it; or one alone, as retrain/pick-2."
    ),
]
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
        from ..runs.figures import figures_of

        figures = "images", "heldout_top1_mean", "heldout_top1_std", "paths"
        scores = figures_of(work.run.folder / "oneshot" / "scores.json", *figures)
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
    rounds: Annotated[int, typer.Option(help="Rounds at most; times that have settled need fewer.", min=3)] = 1000,
    warm_start_from: Annotated[
        str | None, typer.Option("--from", metavar="TABLE", help="Scale this table by a few timings instead.")
    ] = None,
    timings: Annotated[int, typer.Option(help="How many timings scale the table of --from.", min=4)] = 20,
    scale_by: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Scale the table of --from by networks timed elsewhere: name,latency_ms."),
    ] = None,
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
    from ...latency_tables.targets import DeviceOptions, check_options, get_target

    if scale_by is not None:
        if warm_start_from is None or models:
            raise UserError("--scale-by goes with --from TABLE, and without models")
        from ..latency import profile as profiling

        summary = profiling.factor_table(warm_start_from, scale_by, resolution, width, classes, out)
        _answer(as_json, summary, profiling.in_words(summary))
        return
    options = DeviceOptions(serial, host, threads, cpus, ort_aar, listen, port, announce)
    check_options(get_target(target), options)
    if precision not in ("fp32", "int8"):
        raise UserError(f"--precision {precision}: choose fp32 or int8")

    from ...latency_tables import Plan, Rounds
    from ..latency import profile as profiling

    how_often = Rounds(least=min(20, rounds), most=rounds)
    if models:
        device = profiling.attached_device(target, options)
        rows = profiling.profile_models(device, models, input_size, how_often, sustained, out)
        _table(as_json, rows, ("model", "latency_ms", "median_ms", "p90_ms", "cold_ms", "rounds"))
        return
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
        from ..runs.picks_file import read_picks

        picks = read_picks(work.run.folder / "picks" / "picks.json", work.config.space)
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
    preset: OwnPresetOption = None,
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train networks stand-alone: the search's picks, or the ones named."""
    _check_there_is_a_run(run, preset, data, overrides)
    named = _parse_networks(networks)
    with _opened(target, preset or DEFAULT_PRESET, data, run, overrides, seed, force, named) as work:
        work.check_trainable(named or {})
        chosen = _prepare(work, named)
        work.retrain(chosen)
        from ..runs.figures import figures_of

        found = {n: figures_of(work.run.folder / "retrain" / n / "result.json", "val_top1") for n in chosen}
        lines = [f"{name}  top-1 {result['val_top1']:.1%}" for name, result in found.items()]
        _answer(as_json, list(found.values()), "\n".join(lines))


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
    from .quick_checks import weights_file

    weights = weights_file(weights)

    from ..retrain.transfer import find_trained
    from ..runs.figures import figures_of

    trained = find_trained(_parse_networks([network] if network else None), weights)
    with _opened(target, preset, data, run, [*trained.settings, *(overrides or [])], seed, force) as work:
        name = work.transfer(trained)
        result = figures_of(work.run.folder / "retrain" / name / "result.json", "val_top1")
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
    preset: OwnPresetOption = None,
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
    if weights is None:
        _check_there_is_a_run(run, preset, data, overrides)
    named = _parse_networks(networks)
    if weights is not None and (named is None or len(named) != 1 or hard_swish):
        raise UserError("--weights are of one network: name it, and without --hard-swish, which needs training")
    if weights is not None:
        check_regular_file(weights)
    with _opened(target, preset or DEFAULT_PRESET, data, run, given, seed, force, named) as work:
        from ..export.export import NetworksRefused
        from ..export.subject import refuse_other_normalisation
        from ..pipeline import hard_swish_networks, ours
        from ..training.weights import check_weights_file

        if weights is not None:
            check_weights_file(weights)
        if named is not None and weights is None:
            work.check_trainable(ours(named))
        if named is not None:
            # First: a table that cannot price a network is known before it is trained.
            work.latency(hard_swish_networks(named) if hard_swish else named)
        if named is not None and weights is not None:
            chosen = named
        else:
            chosen = _prepare(work, named)
            if trained_here := ours(chosen):
                refuse_other_normalisation(work.config)
                work.retrain(trained_here)
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
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Which export it must be, or it fails: the network's NAME, sha256:DIGEST (of its SHA256SUMS or "
            "passport.json), newer-than:DATE (needs --allowed-signers). Repeatable.",
        ),
    ] = None,
    newer_than: Annotated[
        str | None, typer.Option(metavar="DATE", help="Short for --expect newer-than:DATE, such as 2026-12-01.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The images that it was judged on: measure its accuracy again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported network from its files: every digest, the passport, the models, the signature."""
    if not folder.is_dir():  # the rest takes seconds to import
        raise UserError(f"no folder {folder}")

    from dataclasses import asdict

    from ...exporters.checks.expectations import parse_expected
    from ...exporters.verify import failed_names
    from ...exporters.verify import verify as verify_folder

    demands = [*(expect or []), *([f"newer-than:{newer_than}"] if newer_than is not None else [])]
    expected = parse_expected(demands) if demands else None

    remeasure = None
    if data is not None:
        from ..data import load_dataset
        from ..export.remeasure import remeasured

        dataset = load_dataset(data, heldout=0.2, seed=0)  # only its validation images are looked at
        remeasure = partial(remeasured, dataset=dataset)
    findings = verify_folder(folder, allowed_signers=allowed_signers, expected=expected, remeasure=remeasure)
    _table(as_json, [asdict(finding) for finding in findings], ("file", "what", "outcome", "reason"))
    if failed := failed_names(findings):
        raise UserError(f"{folder} does not verify: {failed}")


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
    _check_there_is_a_run(run, preset, data, given)
    own = run / "config.yaml" if run else None
    source = preset or (str(own) if own and own.is_file() else DEFAULT_PRESET)
    with _opened(target, source, data, run, given, seed, force) as work:
        work.rank(truth, column)
        work.report()
        from ..ranking.summary import in_words

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
    _answer(as_json, {"path": str(path)}, str(path))


@app.command()
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
    from ...latency_tables.runner.bundle import build_bundle, copy_bundle

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
    from ..latency.listing import known_tables, known_targets

    if as_json:
        print_json({"targets": known_targets(), "tables": known_tables()})
        return
    _table(False, known_targets(), ("name", "title", "measured by", "table", "state"))
    _table(False, known_tables(), ("table", "device", "runtime", "kind", "precision", "error", "age", "state"))


@app.command()
def models(
    resolution: Annotated[int, typer.Option(help="Height and width of the input, in pixels.", min=32)] = 224,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List the published networks and the extremes of both spaces with exact parameters and multiply-adds."""
    from ...models import PUBLISHED, get_space, list_spaces

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


def _tell_of_settings(config: Config, given: Sequence[str]) -> None:
    """Say what of the settings people may not have meant."""
    from ..config import repeated_settings

    for key in repeated_settings(given):
        console.print(f"[yellow]{shown(key)} is given twice: the last one counts[/]")
    if config.latency.allow_unvalidated and not any(text.startswith("latency.allow_unvalidated") for text in given):
        console.print(f"[yellow]preset {shown(config.preset)}: a search takes also a table that failed its check[/]")


@contextmanager
def _opened(
    target: str | None,
    preset: str,
    data: str | None,
    run: Path | None,
    overrides: list[str] | None,
    seed: int | None,
    force: str | None,
    networks: Mapping[str, AnyNetwork] | None = None,
) -> Iterator[Pipeline]:
    """The pipeline on its run folder. All that can be checked is checked before anything is written.

    What a look at names and folders shows comes first, before torch is imported.
    """
    from ..config import read_config
    from ..runs.folder import default_run
    from .quick_checks import check_command

    sources = [f"data.source={json.dumps(data)}"] if data is not None else []
    given = [*sources, *(overrides or [])]
    config = read_config(preset, given, target=target, seed=seed)
    folder = run or default_run(config.target, config.preset)
    check_command(config, folder, force)

    with nothing_begun():
        from .. import distributed as ranks
        from ..check_settings import check_settings
        from ..pipeline import Pipeline, check_teacher, follow, open_dataset
        from ..runs.run import Run
        from ..runs.stage_names import forced_by
        from ..user_modules import check_survivable

        check_settings(config)
        for source in (networks or {}).values():
            check_survivable(source)
    with ranks.joined():
        if not ranks.is_first():
            follow(config)
            raise typer.Exit
        _tell_of_settings(config, given)
        dataset = open_dataset(config)
        check_teacher(config, dataset)
        with Run(folder) as held:
            if force is not None:
                held.forced = forced_by(force)
            yield Pipeline(config, held, dataset)


def _check_there_is_a_run(run: Path | None, preset: str | None, data: str | None, overrides: list[str] | None) -> None:
    from .quick_checks import check_there_is_a_run

    check_there_is_a_run(run, preset, data, overrides or [])


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
    from ...models import parse_any_network

    try:
        parsed = [(text, parse_any_network(text)) for text in texts]
        from ..pipeline import network_names  # only now: it takes seconds

        return network_names(parsed)
    except ValueError as error:
        raise UserError(str(error)) from None


def _prepare(work: Pipeline, named: Mapping[str, AnyNetwork] | None) -> Mapping[str, AnyNetwork]:
    """Run what must come before retraining, and say which networks it is about."""
    if named is None:
        work.search()
        return work.picks()
    from ..pipeline import ours

    if work.config.retrain.init == "inherited" and ours(named):
        work.supernet()
    return named


def _show_exports(work: Pipeline, names: list[str], as_json: bool, refused: Mapping[str, str] | None = None) -> bool:
    """Print what was exported; returns whether a format that was asked for is not there."""
    from ..export.table import read_passports, show_exports, withheld

    passports = read_passports(work.run.folder, [name for name in names if name not in (refused or {})])
    if as_json:
        answer: dict[str, Any] = {"run": str(work.run.folder), "exported": passports}
        print_json(answer | ({"refused": dict(refused)} if refused else {}))
    else:
        show_exports(work.run.folder, passports)
    return withheld(passports)


def _answer(as_json: bool, value: Any, text: str) -> None:
    if as_json:
        print_json(value)
    else:
        print_text(text)


def _table(as_json: bool, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if as_json:
        print_json(rows)
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(shown(_cell(row[column])) for column in columns))
    type(console)().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run the command.

    A user's mistake is one line and exit code 2, a format that was withheld is 3, an agreed pause is 75; Ctrl-C is 130,
    SIGTERM 143 and SIGHUP 129. An answer that could not be written is a failure too.
    """
    raise_on_interrupt()
    forgive_standard_error()
    with stopping.listening():
        try:
            code = _run()
        except BaseException:
            if stopping.exit_code() is None:
                raise
            code = INTERRUPTED  # whatever a library made of the interruption
        code = stopping.exit_code() or code
        if code == INTERRUPTED or stopping.is_wanted():  # 130 is what typer may have turned Ctrl-C into
            with suppress(OSError):  # the terminal is gone
                console.print(f"[yellow]{stopping.message()}[/]", soft_wrap=True)
        if (error := flushed()) is not None:
            code = code or _unwritten(error)
        sys.exit(code)


def _run() -> int:
    try:
        return app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Paused:
        console.print("[yellow]time is up: run the same command again to go on from where it stopped[/]")
        return PAUSED
    except Exception as error:
        return INTERRUPTED if stopping.is_wanted() else _failed(error)


def _failed(error: Exception) -> int:
    """Say what went wrong, without passwords; returns the exit code."""
    if show_usage := getattr(error, "show", None):
        # A misspelt command line raises click's exceptions, and newer versions of typer carry a click of their own.
        error.message = plain(redacted(str(getattr(error, "message", error))))  # pyright: ignore[reportAttributeAccessIssue]
        show_usage()
        return 2
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC):
        drop_standard_output()
        return _unwritten(error)
    if isinstance(error, FairnasError | OSError):
        console.print(f"[red]error:[/] {shown(error)}", soft_wrap=True)
        return 2
    sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    return 1


def _unwritten(error: OSError) -> int:
    """The exit code of an answer that standard output did not take; nobody is told where nobody reads."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    console.print(f"[red]error:[/] cannot write to standard output: {shown(error.strerror)}")
    return 2
