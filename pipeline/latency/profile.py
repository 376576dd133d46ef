"""`fairnas profile`: a device measured outside any run, for a table of a space or for anybody's models."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ...common.files import write_json
from ...common.lock import held
from ...common.text import shown
from ...latency_tables import (
    BlockLatency,
    Device,
    DeviceOptions,
    LatencyError,
    LatencyTable,
    Places,
    Plan,
    Rounds,
    check_on_space,
    get_target,
    judge,
    load_table,
    measure,
    measure_sustained,
    open_device,
    profile_space,
)
from ...latency_tables.runtimes.names import about_networks
from ...latency_tables.runtimes.onnx_files import fixed_shapes, load_fixed
from ...models import PUBLISHED, Architecture, Block, SearchSpace, Task, get_space
from ..console import console, sample_bar
from ..errors import UserError
from .earlier import earlier_tables
from .listing import PROFILES


class Priced(NamedTuple):
    """What a table is for: a space at a size.

    Attributes:
        space: its name.
        resolution: height and width of the images, in pixels.
        width: multiplier of every channel count.
        num_classes: of the classifier.
    """

    space: str
    resolution: int
    width: float
    num_classes: int

    @property
    def scaled(self) -> SearchSpace:
        """The space at its width."""
        return get_space(self.space).scaled(self.width)

    @property
    def task(self) -> Task:
        """Of its networks."""
        return Task(self.resolution, self.num_classes)


def attached_device(target_name: str, options: DeviceOptions) -> Device:
    """The device of a target, which must be there.

    Raises:
        LatencyError: there is no such target, or no such device.
    """
    target = get_target(target_name)
    device = open_device(target, options)
    if device is None:
        where = f"; without one, searches use the table {target.table}" if target.table else ""
        raise LatencyError(f"no device of target {target.name} is attached: there is nothing to measure{where}")
    return device


def profile_table(device: Device, priced: Priced, plan: Plan, out: Path | None) -> dict[str, Any]:
    """Measure a space on a device into `OUT/table.json`, with the raw samples beside it.

    Returns:
        What was found, see `_summary`.
    """
    started = time.monotonic()
    with closing(device):
        device.prepare()
        folder = out or _folder(device, priced, plan)
        _show_device(device)
        with _held(folder):
            table = profile_space(device, priced.scaled, priced.task, plan, _places(folder))
            return _saved(table, folder, started)


def scale_table(
    device: Device, base: str, timings: int, priced: Priced, plan: Plan, out: Path | None
) -> dict[str, Any]:
    """Make a table of a new device from another device's and a few timings, into `OUT/table.json`.

    It is checked on whole networks only where `plan.validation` asks for it: that takes longer than the timings.

    Returns:
        What was found, see `_summary`.
    """
    from ...latency_tables.warm_start import scaled_table  # scikit-learn takes a second to import

    started = time.monotonic()
    blocks = priced.scaled.all_blocks(*priced.task)
    source = load_table(base)
    with closing(device):
        device.prepare()
        folder = out or _folder(device, priced, plan, "-scaled")
        _show_device(device)
        with _held(folder):
            with sample_bar("timings") as progress:
                journal = folder / "timings.jsonl"
                table = scaled_table(
                    source,
                    device,
                    blocks,
                    timings,
                    plan.rounds,
                    precision=plan.precision,
                    journal=journal,
                    progress=progress,
                )
            if plan.validation:
                table = check_on_space(device, table, priced.scaled, priced.task, plan, _places(folder))
            return _saved(table, folder, started)


def factor_table(
    base: str, measurements: Path, resolution: int, width: float, num_classes: int, out: Path | None
) -> dict[str, Any]:
    """Scale a table by whole networks that somebody timed, into `OUT/table.json`; nothing is measured here.

    Returns:
        What was found, see `_summary`.

    Raises:
        UserError: no `--out`, or a name that is no network of ours.
    """
    from ...latency_tables.network_factor import read_measurements, with_network_factor

    started = time.monotonic()
    if out is None:
        raise UserError("--scale-by needs --out FOLDER, where the scaled table is written")
    measured = read_measurements(measurements)
    networks: dict[str, tuple[Block, ...]] = {}
    for name in measured:
        try:
            architecture = PUBLISHED[name] if name in PUBLISHED else Architecture.parse(name)
            space = get_space(architecture.space).scaled(width)
            networks[name] = space.blocks(architecture, resolution, num_classes)
        except ValueError as error:
            raise UserError(f"{measurements}: '{name}' is no network of ours: {error}") from None
    table = with_network_factor(
        load_table(base), networks, measured, f"{len(measured)} networks of {measurements.name}"
    )
    with _held(out):
        return _saved(table, out, started)


def _held(folder: Path) -> AbstractContextManager[None]:
    """One process at a time measures into a folder: two would measure everything twice, and disturb each other."""
    return held(folder / ".lock", f"folder {folder}", "wait for it, or name another with --out")


def in_words(summary: dict[str, Any]) -> str:
    """One paragraph of what was found."""
    words = f"{summary['path']}: {summary['device']['name']}, {summary['blocks']} blocks, {summary['seconds']:.0f} s"
    if "mape" in summary:
        words += (
            f"\n{summary['n']} whole networks: mean error {summary['mape']:.2%}, {summary['within_5']:.0%} within 5%, "
            f"{summary['within_10']:.0%} within 10%, Spearman {summary['spearman']:.3f}"
        )
        if "remeasure_spearman" in summary:
            words += f" (measuring again: {summary['remeasure_spearman']:.3f})"
    if "moved" in summary:
        words += f"\nreferences moved by {summary['moved']:.1%} meanwhile"
        words += f", {summary['disturbed']:.0%} of the runs disturbed" if "disturbed" in summary else ""
        words += f", other work used {summary['others']:.0%} of the cores" if "others" in summary else ""
    return f"{words}\n{summary['state']}: {summary['figure']}"


def _folder(device: Device, priced: Priced, plan: Plan, suffix: str = "") -> Path:
    parts = [device.id, f"{priced.space}{suffix}", str(priced.resolution)]
    parts += [f"w{priced.width:g}"] if priced.width != 1 else []
    parts += [f"c{priced.num_classes}"] if priced.num_classes != 1000 else []
    parts += [plan.precision] if plan.precision != "fp32" else []
    return PROFILES / re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _places(folder: Path) -> Places:
    return Places(folder, sample_bar, earlier_tables(folder / "table.json"))


def _show_device(device: Device) -> None:
    fingerprint = device.fingerprint()
    console.print(f"device   {shown(fingerprint['name'])}: {shown(fingerprint['runtime'])}")


def _saved(table: LatencyTable, folder: Path, started: float) -> dict[str, Any]:
    path = folder / "table.json"
    table.save(path)
    return _summary(path, table, time.monotonic() - started)


def _summary(path: Path, table: LatencyTable, seconds: float) -> dict[str, Any]:
    """What `--json` prints: the device, the gate's verdict, and `Steadiness`'s and `Validation`'s figures, if any."""
    verdict, steadiness = judge(table), table.steadiness
    wanted = ("moved", "session_error", "networks", "settled", "disturbed", "others")
    return {
        "path": str(path),
        "kind": table.kind,
        "precision": table.precision,
        "device": table.device,
        "blocks": len(table.blocks),
        "state": verdict.state,
        "figure": "; ".join(filter(None, (verdict.figure, about_networks(table)))),
        "seconds": round(seconds, 1),
        **(steadiness.model_dump(include=set(wanted), exclude_none=True) if steadiness else {}),
        **(table.validation.model_dump(mode="json", exclude_none=True) if table.validation else {}),
    }


def profile_models(
    device: Device,
    texts: Sequence[str],
    input_size: str | None,
    rounds: Rounds,
    sustained_s: float | None,
    out: Path | None,
) -> list[dict[str, Any]]:
    """Time ONNX files and timm models.

    Args:
        device: where.
        texts: paths of ONNX files, or names that timm knows, ours included.
        input_size: such as `1x3x224x224`; empty takes what the file or timm says.
        rounds: how often.
        sustained_s: how long each model then runs without a pause; None leaves that out.
        out: file to write the answer to, with every raw sample beside it, in `NAME.samples.jsonl`.

    Returns:
        A row per model: latencies in ms, rounds, device and runtime.

    Raises:
        UserError: neither a file nor a name that timm knows.
        LatencyError: a model cannot be measured.
    """
    size = _parse_size(input_size)
    models = {text: _content(text, size) for text in dict.fromkeys(texts)}
    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder: name a JSON file for the times of models")
    journal = out.with_name(f"{out.name}.samples.jsonl") if out else None
    lock = held(out.with_name(f".{out.name}.lock"), str(out), "wait for it, or name another file") if out else None
    with closing(device), lock or nullcontext(), sample_bar("measure") as progress:
        timings = measure(device, models, rounds, journal=journal, progress=progress)
        fingerprint = device.fingerprint()
        rows = [_row(text, timing, fingerprint) for text, timing in timings.items()]
        if sustained_s is not None:
            for row in rows:
                model = {row["model"]: models[row["model"]]}
                row["sustained"] = asdict(measure_sustained(device, model, sustained_s))
        if out:
            write_json(out, rows)
    return rows


def _row(text: str, timing: BlockLatency, fingerprint: dict[str, Any]) -> dict[str, Any]:
    device = {"device": fingerprint["name"], "runtime": fingerprint["runtime"]}
    return {"model": text, **timing.model_dump(exclude_none=True), **device}


def _content(text: str, size: tuple[int, ...] | None) -> bytes:
    path = Path(text)
    import timm

    if path.suffix == ".onnx" or path.is_file():  # a folder that is called as a model hides none
        if timm.is_model(text):
            console.print(
                f"{shown(text)} is taken for the file of that name, not for timm's model: add ./ or rename it"
            )
        return load_fixed(path, size)
    return _timm_model(text, size)


def _timm_model(name: str, size: tuple[int, ...] | None) -> bytes:
    """A timm model with random weights, exported: its latency does not depend on them."""
    import timm
    from timm.data.config import resolve_data_config

    from ...exporters import traced

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:3]
        known = f", such as {', '.join(close)}" if close else ""
        raise UserError(f"'{name}' is no ONNX file and no model that timm knows{known}")
    model = timm.create_model(name, pretrained=False).eval()
    return fixed_shapes(
        traced(model, size or (1, *resolve_data_config(model=model)["input_size"])), name
    ).SerializeToString()


def _parse_size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", text):
        raise UserError(f"--input-size {text}: expected sizes such as 1x3x224x224")
    return tuple(int(part) for part in text.split("x"))
