"""Profiling: blocks into a latency table, and whole networks to calibrate it and to check what it promises."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from ..models import Architecture, Block, SearchSpace, Task
from .block_models import block_model, network_model
from .calibration import calibrate, calibration_networks
from .device import Device, OnnxModel
from .errors import LatencyError
from .gate import unsteady
from .measuring import Progress, Rounds, measure
from .predictor import Predictor
from .references import COUNT, References, steadiness
from .runtimes.quantize import quantized
from .table import SCHEMA_VERSION, LatencyTable
from .table_parts import BlockLatency, Precision
from .validation import validate, validation_networks

_ASIDE = ".unsteady.jsonl"
_JOURNALS = ("timings", "blocks", "networks", "networks-again")  # `timings` are of a table scaled from another device's

Bars: TypeAlias = Callable[[str], AbstractContextManager[Progress | None]]
"""Opens a progress bar of a title."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a profile keeps and shows what it does, and what it is compared with.

    Attributes:
        folder: where raw samples are kept; an interrupted profile goes on from them. Those of a device that was not
            steady are put aside when all is measured: the same profile again measures again.
        bars: opens progress bars.
        earlier: tables that tell how fast the device was before, see `Steadiness`; other devices' are passed over.
    """

    folder: Path | None = None
    bars: Bars = lambda _: nullcontext()
    earlier: Sequence[LatencyTable] = ()

    def journal(self, name: str) -> Path | None:
        """The file of raw samples of that name."""
        return self.folder / f"{name}.jsonl" if self.folder else None


@dataclass(frozen=True, slots=True)
class Plan:
    """How thoroughly a device is profiled.

    Attributes:
        rounds: how often blocks are timed; whole networks, which take twenty times as long, begin with fewer.
        precision: of the models that are timed.
        calibration: how many whole networks the calibration is fitted to.
        validation: how many others the table must predict; 0 leaves it unvalidated.
    """

    rounds: Rounds = field(default_factory=Rounds)
    precision: Precision = "fp32"
    calibration: int = 10
    validation: int = 60

    @property
    def network_rounds(self) -> Rounds:
        """How often whole networks are timed: those that settle, half as often as blocks."""
        return replace(self.rounds, least=min(self.rounds.least, 10))


def profile_space(
    device: Device, space: SearchSpace, task: Task, plan: Plan, places: Places | None = None
) -> LatencyTable:
    """Measure all blocks of a space, calibrate on whole networks of it, and validate on others.

    Args:
        device: where to measure.
        space: what to price, at its width.
        task: of the networks.
        plan: how thoroughly.
        places: what is kept and shown; by default nothing.

    Raises:
        LatencyError: the device cannot measure something.
    """
    places = places or Places()
    references = _references(device, space, task, plan, places)
    table = _profiled_blocks(device, space.all_blocks(*task), plan, places)
    return check_on_space(device, table, space, task, plan, places, references)


def check_on_space(
    device: Device,
    table: LatencyTable,
    space: SearchSpace,
    task: Task,
    plan: Plan,
    places: Places | None = None,
    references: References | None = None,
) -> LatencyTable:
    """Calibrate a table on networks of a space, and validate it on others, see `check_on_networks` and `profile_space`.

    References that were looked at before the blocks were measured are looked at again; without any, from here on.

    Raises:
        LatencyError: the table lacks a block of the space, or the device cannot measure a network.
    """
    places = places or Places()
    calibration = calibration_networks(space, plan.calibration)
    validation: list[Architecture] = []
    if plan.validation:
        wanted = plan.validation + len(calibration)
        resolution, num_classes = task
        found = validation_networks(space, Predictor(table), wanted, resolution=resolution, num_classes=num_classes)
        validation = [architecture for architecture in found if architecture not in calibration][: plan.validation]

    def blocks(architectures: Sequence[Architecture]) -> list[tuple[Block, ...]]:
        return [space.blocks(architecture, *task) for architecture in architectures]

    references = references or _references(device, space, task, plan, places)
    rounds = plan.network_rounds
    return check_on_networks(device, table, blocks(calibration), blocks(validation), rounds, places, references)


def profile_network(
    device: Device,
    space: SearchSpace,
    architecture: Architecture,
    task: Task,
    plan: Plan,
    places: Places | None = None,
) -> LatencyTable:
    """Measure the blocks of one network, calibrated on networks of its space; `plan.validation` plays no part.

    Raises:
        LatencyError: the device cannot measure something.
    """
    places = places or Places()
    relatives = calibration_networks(space, plan.calibration, architecture.se_ratio, hard_swish=architecture.hard_swish)
    networks = [space.blocks(relative, *task) for relative in relatives]
    distinct = [*space.blocks(architecture, *task), *chain.from_iterable(networks)]
    references = _references(device, space, task, plan, places)
    table = _profiled_blocks(device, distinct, plan, places)
    return check_on_networks(device, table, networks, [], plan.network_rounds, places, references)


def profile_blocks(
    device: Device,
    blocks: Iterable[Block],
    rounds: Rounds,
    *,
    precision: Precision = "fp32",
    journal: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every distinct block on a device, each alone.

    A whole network streams all its weights through the caches, but starts only once: on one server CPU the sum of warm
    blocks is 5 to 10% below whole networks at 224 pixels, 20 to 40% below at 64 pixels, and above them for the smallest
    networks. `check_on_networks` corrects that.

    Args:
        device: where to measure.
        blocks: what to measure; blocks of equal signature are measured once.
        rounds: how often each block is timed.
        precision: of the models that are timed.
        journal: file of raw samples; an interrupted measurement goes on from it.
        progress: called after every sample.

    Raises:
        LatencyError: there is no block, or the device cannot measure one.
    """
    distinct = {block.signature: block for block in blocks}
    if not distinct:
        raise LatencyError("there is no block to measure")
    models = _contents({name: block_model(block) for name, block in distinct.items()}, precision, progress)
    measured = measure(device, models, rounds, precision=precision, journal=journal, progress=progress)
    fingerprint = device.fingerprint()
    return LatencyTable(
        schema_version=SCHEMA_VERSION,
        name=device.id if precision == "fp32" else f"{device.id}-{precision}",
        kind="measured",
        device=fingerprint,
        runtime=str(fingerprint["runtime"]),
        precision=precision,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=f"blocks measured alone on {fingerprint['name']}",
        blocks=measured,
    )


def check_on_networks(
    device: Device,
    table: LatencyTable,
    calibration: Sequence[Sequence[Block]],
    validation: Sequence[Sequence[Block]],
    rounds: Rounds,
    places: Places | None = None,
    references: References | None = None,
) -> LatencyTable:
    """Measure whole networks, fit the table's calibration to some and compare its predictions with the others.

    The others are measured twice, and compared in the second session: the calibration is of the first.

    Args:
        device: where the table was measured.
        table: what to check; as it is, where there is no network.
        calibration: the blocks of each network to fit; none leaves the plain sum.
        validation: the blocks of each network to predict, none of them in `calibration`; none leaves the table
            unvalidated.
        rounds: how often each network is timed.
        places: what is kept and shown, and which tables `references` are compared with; by default nothing.
        references: looked at before the first session and after each; None leaves the table without `steadiness`.

    Raises:
        LatencyError: the table is another device's, or the device cannot measure a network.
    """
    if not (calibration or validation):
        return table
    places = places or Places()
    device.prepare()
    if device.fingerprint() != table.device:
        raise LatencyError(f"latency table {table.name} was measured on another device or runtime: measure it again")
    if references:
        references.look()
    passes = _two_sessions(device, table.precision, calibration, validation, rounds, places, references)
    if references:
        table = table.model_copy(update={"steadiness": steadiness(references, passes, places.earlier)})
    if calibration:
        table = calibrate(table, calibration, _latencies(passes[0], calibration))
    if validation:
        table = validate(table, validation, _latencies(passes[1], validation), _latencies(passes[0], validation))
    if places.folder and unsteady(table):
        _put_aside(places.folder)
    return table


def _two_sessions(
    device: Device,
    precision: Precision,
    calibration: Sequence[Sequence[Block]],
    validation: Sequence[Sequence[Block]],
    rounds: Rounds,
    places: Places,
    references: References | None,
) -> list[dict[str, BlockLatency]]:
    """Times of all networks, and again of those that validate; one session where there are none of these."""
    networks = {_network_name(blocks): blocks for blocks in (*calibration, *validation)}
    # In no order, so that a device that slowly drifts does not mistreat the larger ones.
    names = np.random.default_rng(0).permutation(list(networks)).tolist()
    again = {_network_name(blocks) for blocks in validation}
    passes = list[dict[str, BlockLatency]]()
    with places.bars("networks") as progress:
        models = _contents({name: network_model(networks[name]) for name in names}, precision, progress)
        for journal, timed in (("networks", set(names)), ("networks-again", again)):
            if timed:
                session = {name: models[name] for name in names if name in timed}
                kept = places.journal(journal)
                passes.append(measure(device, session, rounds, precision=precision, journal=kept, progress=progress))
                if references:
                    references.look()
    return passes


def measure_networks(
    device: Device,
    networks: Mapping[str, Sequence[Block]],
    rounds: Rounds,
    *,
    precision: Precision = "fp32",
    journal: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, BlockLatency]:
    """Measure whole networks, by the names they are given, from their blocks alone.

    Raises:
        LatencyError: the device cannot measure a network.
    """
    models = _contents({name: network_model(blocks) for name, blocks in networks.items()}, precision, progress)
    return measure(device, models, rounds, precision=precision, journal=journal, progress=progress)


def _profiled_blocks(device: Device, blocks: Iterable[Block], plan: Plan, places: Places) -> LatencyTable:
    kept = places.journal("blocks")
    with places.bars("blocks") as progress:
        return profile_blocks(device, blocks, plan.rounds, precision=plan.precision, journal=kept, progress=progress)


def _references(device: Device, space: SearchSpace, task: Task, plan: Plan, places: Places) -> References | None:
    """Reference networks of a space, looked at for the first time; none where no network is timed at all."""
    if not (plan.calibration or plan.validation):
        return None
    device.prepare()
    blocks = [space.blocks(each, *task) for each in calibration_networks(space, COUNT)]
    networks = {_network_name(each): network_model(each) for each in blocks}
    with places.bars("references") as progress:
        models = _contents(networks, plan.precision, progress)
        references = References(device, models, plan.network_rounds, plan.precision, places.folder)
        references.look()
    return references


def _put_aside(folder: Path) -> None:
    """Rename the raw samples of a device that was not steady: read again, they would give the same table again."""
    references = folder.glob("references-[0-9].jsonl")
    for journal in [*(folder / f"{name}.jsonl" for name in _JOURNALS), *references]:  # other files are the user's
        if journal.exists():
            journal.replace(journal.with_name(journal.stem + _ASIDE))


def _contents(
    models: Mapping[str, onnx.ModelProto], precision: Precision, progress: Progress | None
) -> dict[str, OnnxModel]:
    """Models as they are sent to a device; quantising takes a second each."""
    contents: dict[str, OnnxModel] = {}
    for name, model in models.items():
        contents[name] = (model if precision == "fp32" else quantized(model)).SerializeToString()
        if progress and precision != "fp32":
            progress(len(contents), len(models))
    return contents


def _network_name(blocks: Sequence[Block]) -> str:
    return "network " + hashlib.sha256(" ".join(block.signature for block in blocks).encode()).hexdigest()[:12]


def _latencies(measured: Mapping[str, BlockLatency], networks: Sequence[Sequence[Block]]) -> list[float]:
    return [measured[_network_name(blocks)].latency_ms for blocks in networks]
