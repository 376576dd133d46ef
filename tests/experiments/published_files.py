"""Small files in the formats of the published measurements, with latencies that follow a known formula exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from fairnas.experiments.latency_fits import fbnet32, nasbench201, note10, pixel1
from fairnas.latency_tables.block_features import Features, block_features, total
from fairnas.models import Block, get_space

PRICES = {
    "dense_madds": 1e-7,
    "activated_madds": 3e-8,
    "linear_madds": 2e-8,
    "depthwise_madds": 4e-7,
    "activated_elements": 5e-6,
    "linear_elements": 3e-6,
    "depthwise_elements": 2e-6,
    "depthwise_elements_beyond_512kb": 0.0,  # most tables do not price it
    "residual_elements": 1e-5,
    "dense_weights": 3e-7,
    "weights_beyond_1mb": 2e-6,
    "classifier_weights": 8e-8,
    "operators": 1e-3,
    "pooled_elements": 1e-6,
    "squeeze_elements": 2e-6,
    "squeeze_weights": 9e-7,
    "hswish_elements": 2e-6,
    "shuffled_elements": 2e-5,
}


def price(features: Features) -> float:
    return sum(PRICES[name] * amount for name, amount in features.items())


def write_csv(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def pixel1_rows() -> list[dict[str, object]]:
    """Every block of space (b) at 224 pixels."""
    return [_pixel1_row(block) for block in get_space("b").all_blocks(224)]


def _pixel1_row(block: Block) -> dict[str, object]:
    kinds = {"classifier": "Logits", "conv": "Conv" if block.stride == 2 else "Conv_1"}
    row: dict[str, object] = {"type": kinds.get(block.kind, "expanded_conv"), "h_in": block.resolution}
    row |= {"c_in": block.in_channels, "c_out": block.out_channels, "mean_ms": price(block_features(block))}
    if row["type"] == "expanded_conv":
        row |= {"expand": f"{block.expansion}.0", "kernel": f"{block.kernel}.0", "stride": f"{block.stride}.0"}
    return row


def note10_rows() -> list[dict[str, object]]:
    """MobileNetV3's kinds of blocks at three resolutions."""
    rows: list[dict[str, object]] = []
    for resolution in (160, 192, 224):
        size = -(-resolution // 32)
        whole: list[tuple[str, Block, Features]] = [
            ("Conv", Block("conv", 3, 24, resolution, stride=2, kernel=3), {"hswish_elements": 6 * resolution**2}),
            ("Conv_1", Block("conv", 192, 1152, size), {"hswish_elements": 1152 * size**2}),
            ("Conv_2", Block("classifier", 1152, 1536, 1), {"hswish_elements": 1536, "pooled_elements": -1152}),
            ("Logits", Block("classifier", 1536, 1000, 1), {"pooled_elements": -1536}),
        ]
        for name, block, extra in whole:
            rows.append(_note10_row(name, block, resolution, price(total([block_features(block), extra]))))
        pooling = Block("classifier", 1152, 1152, size)
        rows.append(_note10_row("AvgPool2D", pooling, resolution, PRICES["pooled_elements"] * 1152 * size**2))
        rows += [
            _note10_block(resolution, i, o, -(-resolution // down), stride, expansion, kernel, se, hs)
            for i, o, down, stride, se, hs in (
                (24, 24, 2, 1, 0, 0),
                (24, 32, 2, 2, 0, 0),
                (32, 48, 4, 2, 1, 0),
                (48, 96, 8, 2, 0, 1),
                (136, 192, 16, 2, 1, 1),
                (192, 192, 32, 1, 1, 1),
            )
            for expansion in ((1,) if (i, o) == (24, 24) else (3, 4, 6))
            for kernel in (3, 5, 7)
        ]
    return rows


def _note10_row(name: str, block: Block, resolution: int, latency_ms: float) -> dict[str, object]:
    row: dict[str, object] = {"type": name, "resolution": resolution, "mean_ms": latency_ms}
    return row | {"h_in": block.resolution, "c_in": block.in_channels, "c_out": block.out_channels}


def _note10_block(
    resolution: int, i: int, o: int, size: int, stride: int, expansion: int, kernel: int, se: int, hs: int
) -> dict[str, object]:
    hidden, adds = i * expansion, stride == 1 and i == o
    kind = "mbconv" if expansion > 1 else "sepconv"
    ratio = note10.squeezed_channels(hidden) / i if se else 0
    block = Block(kind, i, o, size, stride, kernel, expansion, se_ratio=ratio, activation="relu")
    extra: Features = {"hswish_elements": hs * hidden * (size**2 + block.out_resolution**2)}
    if adds and kind == "sepconv":
        extra["residual_elements"] = o * size**2
    row = _note10_row("expanded_conv", block, resolution, price(total([block_features(block), extra])))
    return row | {"expand": hidden, "kernel": kernel, "stride": stride, "idskip": int(adds), "se": se, "hs": hs}


def fbnet_rows() -> list[dict[str, object]]:
    """FBNet's blocks at 32 pixels; each identity layer is there twice, as its stages repeat it."""
    shapes = [(16, 16, 32, 1), (16, 24, 32, 1), (24, 24, 32, 1), (24, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2)]
    shapes += [(64, 64, 8, 1), (64, 112, 8, 1), (112, 112, 8, 1), (112, 184, 8, 2), (184, 352, 4, 1)]
    return [
        _fbnet_row(i, o, size, stride, kernel, expansion, groups)
        for i, o, size, stride in shapes
        for _ in range(2 if i == o else 1)
        for kernel in (3, 5)
        for expansion, groups in ((1, 1), (1, 2), (3, 1), (6, 1))
    ]


def _fbnet_row(i: int, o: int, size: int, stride: int, kernel: int, expansion: int, groups: int) -> dict[str, object]:
    hidden, out_size, identity = i * expansion, -(-size // stride), stride == 1 and i == o
    # Written out, not taken from the package: weights, multiply-adds and elements of two 1x1 and a depthwise layer.
    expand, project, weights = i * hidden // groups, hidden * o // groups, (i + o) * hidden // groups
    latency_ms = price(
        {
            "dense_madds": expand * size**2 + project * out_size**2,
            "activated_madds": expand * size**2,
            "linear_madds": project * out_size**2,
            "depthwise_madds": hidden * kernel**2 * out_size**2,
            "activated_elements": hidden * size**2,
            "linear_elements": o * out_size**2,
            "depthwise_elements": hidden * (size**2 + out_size**2),
            "residual_elements": o * size**2 if identity else 0,
            "dense_weights": weights,
            "weights_beyond_1mb": max(0, weights - 262144),
            "operators": 3,
            "shuffled_elements": hidden * size**2 if groups > 1 else 0,
        }
    )
    if not identity:
        latency_ms -= price(
            {
                "dense_madds": i * o * out_size**2,
                "activated_madds": i * o * out_size**2,
                "activated_elements": o * out_size**2,
                "dense_weights": i * o,
                "operators": 1,
            }
        )
    row: dict[str, object] = {"h_in": size, "c_in": i, "c_out": o, "stride": stride, "kernel": kernel}
    row |= {"expand": expansion, "groups": groups, "skip_is_identity": int(identity)}
    return row | {"pixel3_ms_minus_skip": latency_ms, "raspi4_ms_minus_skip": 2 * latency_ms}


def nasbench201_rows() -> list[dict[str, object]]:
    """Some networks, at what they cost by the same prices; the first does not lead to its output."""
    rows: list[dict[str, object]] = [{"arch": "333000", "pixel3": 0.003, "raspi4": 0.01}]
    for architecture in ("100030", "112321", "333333", "000300", "213032", "300030", "222222"):
        features = nasbench201.network_features(architecture)
        assert features
        rows.append({"arch": architecture, "pixel3": price(features), "raspi4": 2 * price(features)})
    return rows


def write_all(folder: Path) -> None:
    """A folder with every file."""
    write_csv(folder / pixel1.FILE, pixel1_rows())
    write_csv(folder / note10.FILE, note10_rows())
    write_csv(folder / fbnet32.FILE, fbnet_rows())
    base = {device: {"all_skip_network_ms": 3.0} for device in ("pixel3", "raspi4")}
    (folder / fbnet32.BASE_FILE).write_text(json.dumps(base))
    write_csv(folder / nasbench201.FILE, nasbench201_rows())
