"""Commands of devices and networks: measuring, and what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import announce, console
from ..errors import UserError
from .answers import print_answer, print_table
from .options import AarOption, CpusOption, HostOption, JsonOption, SerialOption, ThreadsOption
from .streams import print_json


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
    from ...latency_tables.devices import DeviceOptions, check_options
    from ...latency_tables.targets import get_target

    if scale_by is not None:
        if warm_start_from is None or models:
            raise UserError("--scale-by goes with --from TABLE, and without models")
        from ..latency import profile as profiling

        summary = profiling.factor_table(warm_start_from, scale_by, resolution, width, classes, out)
        print_answer(as_json, summary, profiling.in_words(summary))
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
        print_table(as_json, rows, ("model", "latency_ms", "median_ms", "p90_ms", "cold_ms", "rounds"))
        return
    networks = 60 if validate else 0 if warm_start_from else 20
    plan = Plan(how_often, precision, validation=networks)  # pyright: ignore[reportArgumentType]
    device = profiling.attached_device(target, options)
    priced = profiling.Priced(space, resolution, width, classes)
    if warm_start_from is not None:
        summary = profiling.scale_table(device, warm_start_from, timings, priced, plan, out)
    else:
        summary = profiling.profile_table(device, priced, plan, out)
    print_answer(as_json, summary, profiling.in_words(summary))


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
    print_answer(as_json, answer, f"{built.folder}: ONNX Runtime {built.runtime}, {len(built.files)} files; {command}")


def targets(as_json: JsonOption = False) -> None:
    """List the targets, and the tables that price their blocks: device, error, age and state."""
    from ..latency.listing import known_tables, known_targets

    if as_json:
        print_json({"targets": known_targets(), "tables": known_tables()})
        return
    print_table(False, known_targets(), ("name", "title", "measured by", "table", "state"))
    print_table(False, known_tables(), ("table", "device", "runtime", "kind", "precision", "error", "age", "state"))


def models(
    resolution: Annotated[int, typer.Option(help="Height and width of the input, in pixels.", min=32)] = 224,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List the published networks and the extremes of both spaces with exact parameters and multiply-adds."""
    from ...models import PUBLISHED, get_space, list_spaces

    networks = dict(PUBLISHED)
    for name in list_spaces():
        space = get_space(name)
        by_size = sorted(space.choices, key=lambda choice: space.cost(space.uniform(str(choice))).madds)
        networks |= {f"{name}-all-{choice}": space.uniform(str(choice)) for choice in (by_size[0], by_size[-1])}
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
    print_table(as_json, rows, ("name", "params", "madds_m", "architecture"))
