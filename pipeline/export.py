"""Stage `export/<name>`: a trained network leaves as ONNX, is checked, timed, and gets its passport."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from ..exporters import (
    Accuracy,
    ExportedFile,
    LatencyRecord,
    Passport,
    Preprocessing,
    compare,
    export_onnx,
    onnx_logits,
)
from ..latency_tables import Device, HostDevice, Predictor, Rounds, Target, judge, measure
from ..latency_tables.files import sha256_file, write_atomic
from ..latency_tables.onnx_files import load_fixed
from ..models import Architecture, Block, build_network, get_space
from .config import Config
from .data import Dataset, eval_batches
from .runs import Workspace
from .training import top1

VERSION = 1
OUTPUTS = ("model.onnx", "passport.json")
EVAL_BATCH = 128
CPU = torch.device("cpu")  # where exported files run, also on a machine with a GPU


def export(
    name: str,
    architecture: Architecture,
    weights: bytes,
    config: Config,
    dataset: Dataset,
    target: Target,
    predictor: Predictor,
    device: Device | None,
    lineage: Mapping[str, str],
    workspace: Workspace,
) -> None:
    """Write `model.onnx` and `passport.json`.

    Args:
        name: what the network is called.
        architecture: its blocks.
        weights: content of its `weights.safetensors`.
        config: the run's configuration.
        dataset: its `val` part is what parity and accuracy are stated on.
        target: what latency is predicted for.
        predictor: prices blocks on the target.
        device: the target's device, where the exported file is timed besides on this host; None where it is not there.
        lineage: digests of what the network was made from.
        workspace: where to write.

    Raises:
        ExportError: the exported file does not agree with PyTorch; nothing is written.
    """
    size = config.deploy
    network = build_network(architecture, width=size.width, num_classes=len(dataset.classes)).eval()
    network.load_state_dict(load(weights))
    preprocessing = Preprocessing(size.resolution, dataset.crop_pct, dataset.mean, dataset.std)
    content = export_onnx(network, preprocessing, dataset.classes, config.export.opset, name)
    exported = onnx_logits(content)
    sample = dataset.val.subset(_spread(len(dataset.val), config.export.parity_images))
    batches = (images for images, _ in eval_batches(sample, batch_size=EVAL_BATCH, resolution=size.resolution))
    parity = compare(network, exported, batches, config.export.tolerance)
    path = workspace.folder / "model.onnx"
    write_atomic(path, content)

    space = get_space(architecture.space).scaled(size.width)
    blocks = space.blocks(architecture, size.resolution, len(dataset.classes))
    cost = space.cost(architecture, size.resolution, len(dataset.classes))
    passport = Passport(
        name=name,
        architecture=str(architecture),
        se_ratio=architecture.se_ratio,
        width=size.width,
        resolution=size.resolution,
        num_classes=len(dataset.classes),
        classes=dataset.classes,
        params=cost.params,
        madds=cost.madds,
        accuracy=Accuracy(
            pytorch_top1=top1(network, dataset.val, EVAL_BATCH, size.resolution, CPU),
            onnx_top1=top1(exported, dataset.val, EVAL_BATCH, size.resolution, CPU),
            images=len(dataset.val),
        ),
        parity=parity,
        latency=[_predicted(target, predictor, blocks), *_measured(path, size.resolution, device, target, config)],
        files=[ExportedFile(path=path.name, format="onnx", bytes=len(content), sha256=sha256_file(path))],
        lineage={**lineage, "weights_sha256": hashlib.sha256(weights).hexdigest()},
    )
    write_atomic(workspace.folder / "passport.json", passport.model_dump_json(indent=1, exclude_none=True) + "\n")


def _spread(available: int, wanted: int) -> Tensor:
    """Indices spread over the whole set: images of a class often lie side by side."""
    return torch.linspace(0, available - 1, min(available, wanted)).long()


def _predicted(target: Target, predictor: Predictor, blocks: Sequence[Block]) -> LatencyRecord:
    prediction = predictor.predict(blocks)
    table = predictor.table
    return LatencyRecord(
        target=target.name,
        device=str(table.device["name"]),
        kind="predicted",
        source=f"predicted, {table.kind} table {table.name}",
        latency_ms=prediction.latency_ms,
        low_ms=prediction.low_ms,
        high_ms=prediction.high_ms,
        table_kind=table.kind,
        table_state=judge(table).state,
        extrapolated=prediction.extrapolated,
    )


def _measured(
    path: Path, resolution: int, device: Device | None, target: Target, config: Config
) -> list[LatencyRecord]:
    """The file that is handed over is the file that is timed: on the target's device, and always on this host."""
    host = HostDevice()
    devices: dict[str, Device] = {"host": host}
    if device is not None and device.kind != "host":
        devices = {target.name: device} | devices
    most = config.export.latency_rounds
    model = load_fixed(path, (1, 3, resolution, resolution))
    records: list[LatencyRecord] = []
    for name, place in devices.items():
        timing = measure(place, {path.parent.name: model}, Rounds(least=most, most=most))[path.parent.name]
        fingerprint = place.fingerprint()
        records.append(
            LatencyRecord(
                target=name,
                device=str(fingerprint["name"]),
                kind="measured",
                source=f"measured, {fingerprint['runtime']}",
                latency_ms=timing.latency_ms,
                median_ms=timing.median_ms,
                p90_ms=timing.p90_ms,
                rounds=timing.rounds,
            )
        )
    return records
