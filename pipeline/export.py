"""Stage `export/<name>`: a trained network leaves as ONNX, is checked, timed, and gets its passport."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
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
from ..latency_tables import HostDevice, Predictor, Target, measure_onnx
from ..models import Architecture, Block, build_network, get_space
from .config import Config
from .data import Dataset, eval_batches
from .files import sha256_file, write_atomic
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
        latency=[_predicted(target, predictor, blocks), _measured(path, config.export.latency_rounds)],
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
        table_kind=table.kind,
        extrapolated=prediction.extrapolated,
    )


def _measured(path: Path, rounds: int) -> LatencyRecord:
    """On this host, whatever the target: the file that is handed over is the file that was timed."""
    with closing(HostDevice()) as host:
        fingerprint = host.fingerprint()
        timing = measure_onnx(host, {path.parent.name: path}, rounds)[path.parent.name]
    return LatencyRecord(
        target="host",
        device=str(fingerprint["name"]),
        kind="measured",
        source=f"measured, {fingerprint['runtime']}",
        latency_ms=timing.latency_ms,
        median_ms=timing.median_ms,
        p90_ms=timing.p90_ms,
        rounds=rounds,
    )
