"""A small, real export: an untrained network of 32 px in ONNX, its passport with everything in it, and its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from fairnas.exporters import Preprocessing, compare, export_onnx, onnx_logits
from fairnas.exporters.passport.folder import write_export_folder
from fairnas.exporters.passport.passport import Passport, package_licenses
from fairnas.exporters.passport.records import (
    Accuracy,
    ExportedFile,
    FormatRecord,
    LatencyRecord,
    Licenses,
    MemoryRecord,
    ParityRecord,
    SustainedRecord,
)
from fairnas.models import build_network, get_space, parse_network

CLASSES = ("cat", "dog", "<script>alert(1)</script>", "owl & 'eagle'")
PREPROCESSING = Preprocessing(32, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ARCHITECTURE = parse_network("fairnas_c")
OTHER_ARCHITECTURE = parse_network("fairnas_a")
WIDTH = 0.25


def small_export(folder: Path, sign_with: Path | None = None, **changes: Any) -> Passport:
    """Write the folder and close it."""
    content, network = small_onnx()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    parity = compare(network, onnx_logits(content), [torch.randn(4, 3, 32, 32)])
    passport = small_passport(content, ParityRecord.of(parity, tolerance=1e-4))
    return write_export_folder(folder, passport.model_copy(update=changes), sign_with)


def small_onnx() -> tuple[bytes, torch.nn.Module]:
    """The ONNX file, and the network that it is of."""
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, width=WIDTH, num_classes=len(CLASSES)).eval()
    return export_onnx(network, PREPROCESSING, CLASSES, 18, "small"), network


def small_passport(content: bytes, parity: ParityRecord) -> Passport:
    """A passport of which every part is filled in."""
    network = build_network(ARCHITECTURE, width=WIDTH, num_classes=len(CLASSES))
    accuracy = Accuracy(pytorch_top1=0.9312, exported_top1=0.9312, images=3925)
    bad = ParityRecord(
        images=256,
        max_abs_difference=0.83,
        mean_abs_difference=0.04,
        max_relative_difference=0.09,
        top1_agreement=0.91,
        first_diverging_layer="/blocks.2/conv_dw/Conv",
    )
    return Passport(
        name="small",
        architecture=str(ARCHITECTURE),
        se_ratio=0.0,
        width=WIDTH,
        resolution=32,
        num_classes=len(CLASSES),
        classes=list(CLASSES),
        params=sum(parameter.numel() for parameter in network.parameters()),
        madds=get_space(ARCHITECTURE.space).scaled(WIDTH).cost(ARCHITECTURE, 32, len(CLASSES)).madds,
        preprocessing=PREPROCESSING,
        formats=[
            FormatRecord(
                format="onnx",
                status="written",
                files=[exported_file("model.onnx", content)],
                parity=parity,
                accuracy=accuracy,
                memory=MemoryRecord(
                    runtime="ONNX Runtime 1.32.0, CPUExecutionProvider, 1 thread",
                    before_mb=61.2,
                    loaded_mb=66.1,
                    peak_mb=68.4,
                    model_mb=7.2,
                    runs=5,
                ),
                latency=[_predicted(), _measured()],
            ),
            FormatRecord(
                format="onnx-int8",
                status="withheld",
                reason="top-1 falls by 3.11 points, and int8.max_drop allows 1.00",
                parity=bad,
                accuracy=Accuracy(pytorch_top1=0.9312, exported_top1=0.9001, images=3925, max_drop=0.01),
                facts={
                    "calibration": {"method": "percentile", "images": 256, "tried": ["minmax", "percentile"]},
                    "float_layers": ["/classifier/Gemm", "/conv_stem/Conv"],
                    "layers": [{"name": "/conv_stem/Conv", "snr_db": 31.234567}, {"name": "<b>", "snr_db": 8.5}],
                },
            ),
            FormatRecord(format="tensorrt-fp16", status="not_run", reason="no NVIDIA GPU on this machine"),
        ],
        licenses=Licenses(data="CC-BY-4.0", packages=package_licenses("torch", "timm", "onnxruntime")),
        lineage={
            "dataset": {"name": "animals", "digest": "ab" * 32, "train_images": 9469, "val_images": 3925},
            "stages": {"supernet": "12" * 32, "search": "34" * 32},
            "commit": "4f1c2a9d0e",
            "versions": {"python": "3.11.2", "torch": "2.14.0"},
        },
    )


def exported_file(path: str, content: bytes) -> ExportedFile:
    """Its record."""
    return ExportedFile(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _predicted() -> LatencyRecord:
    return LatencyRecord(
        target="pixel",
        device="Google Pixel 1",
        kind="predicted",
        source="predicted, fitted table pixel1",
        latency_ms=7.94,
        low_ms=7.1,
        high_ms=8.8,
        table_kind="fitted",
        table_state="fitted",
        extrapolated=True,
    )


def _measured() -> LatencyRecord:
    return LatencyRecord(
        target="host",
        device="AMD EPYC 9B14",
        kind="measured",
        source="measured, ONNX Runtime 1.32.0, 1 thread",
        latency_ms=1.21,
        median_ms=1.27,
        p90_ms=1.41,
        rounds=50,
        sustained=SustainedRecord(burst_ms=1.2, sustained_ms=1.31, seconds=30.0, runs=22910, temperature_c=61.5),
    )
