"""TensorRT: engines are really built and looked into; they run, and are compared, where there is a GPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fairnas.exporters import ExportError, onnx_logits
from fairnas.exporters.deployable import Exported
from fairnas.exporters.tensorrt.build import Precision, build_engine
from fairnas.exporters.tensorrt.inspect import inspect_log, layers_of
from fairnas.exporters.tensorrt.run import in_batches, run_engine
from fairnas.exporters.tensorrt.settings import TensorRtSettings
from fairnas.exporters.tensorrt.timing import TimingCache
from fairnas.latency_tables import LatencyError, block_model
from fairnas.latency_tables.devices.cuda.engines import TensorRTEngine
from fairnas.latency_tables.runtimes.tensorrt_library import find_library, no_gpu, open_library
from fairnas.models import PUBLISHED, Block
from onnx import helper

from .tensorrt_models import onnx_network, quantised_convolution, small_network

RTX = TensorRtSettings(library="tensorrt_rtx", compute_capabilities=["8.6", "8.9"])
DTYPES: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
FORMATS: dict[Precision, str] = {"fp32": "tensorrt", "fp16": "tensorrt-fp16", "int8": "tensorrt-int8"}

needs_rtx = pytest.mark.skipif(
    find_library(("tensorrt_rtx",)) is None, reason="TensorRT-RTX is not installed: pip install 'fairnas[tensorrt]'"
)
without_gpu = pytest.mark.skipif(no_gpu() is None, reason="of machines without an NVIDIA GPU")
on_gpu = pytest.mark.skipif(no_gpu() is not None, reason=f"needs an NVIDIA GPU: {no_gpu()}")


@cache
def small(precision: Precision) -> bytes:
    return onnx_network(PUBLISHED["fairnas_c"], precision, 32)


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(ExportError) as refusal:
        attempt()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def holds(exported: Exported, content: bytes, dtype: str) -> None:
    """Every convolution and matrix product of the ONNX file is in the engine, in this type."""
    operators = [node.op_type for node in onnx.load_model_from_string(content).graph.node]
    assert exported.facts["layers_with_weights"] == {dtype: operators.count("Conv") + operators.count("Gemm")}


@needs_rtx
@pytest.mark.parametrize("precision", list(DTYPES))
@pytest.mark.parametrize("name", ["fairnas_a", "fairnas_b", "fairnas_c"])
def test_engines_of_the_published_networks_compute_as_their_format_says(name: str, precision: Precision) -> None:
    content = onnx_network(PUBLISHED[name], precision, 224, classes=1000)
    exported = build_engine(content, precision, RTX)
    assert exported.format == FORMATS[precision]
    assert list(exported.files) == [f"model.{precision}.engine"]
    holds(exported, content, DTYPES[precision])
    facts = exported.facts
    assert facts["inputs"] == [{"name": "images", "dtype": "float32", "shape": [-1, 3, 224, 224]}]
    assert facts["outputs"] == [{"name": "logits", "dtype": "float32", "shape": [-1, 1000]}]
    assert facts["batch"] == [1, 1, 32]
    assert facts["compute_capabilities"] == ["8.6", "8.9"]
    assert facts["layers"] == sum(facts["layers_by_kind"].values())
    weights = sum(int(np.prod(value.dims)) for value in onnx.load_model_from_string(content).graph.initializer)
    size = {"fp32": 4, "fp16": 2, "int8": 1}[precision] * weights
    assert size * 0.99 < facts["weights_bytes"] < size * 1.5
    assert len(exported.files[f"model.{precision}.engine"]) > facts["weights_bytes"]


@needs_rtx
@pytest.mark.parametrize("precision", list(DTYPES))
def test_squeeze_excite_and_hard_swish_pass(precision: Precision) -> None:
    architecture = PUBLISHED["fairnas_c_se"].with_hard_swish()
    content = onnx_network(architecture, precision, 32)
    holds(build_engine(content, precision, RTX), content, DTYPES[precision])


@needs_rtx
@without_gpu
def test_without_a_gpu_an_engine_is_known_from_the_build_report_and_runs_nowhere() -> None:
    exported = build_engine(small("fp32"), "fp32", RTX)
    assert exported.run is None
    assert exported.not_run is not None
    assert exported.not_run.startswith("the engine runs on an NVIDIA GPU only: ")
    assert "build report" in exported.facts["inspected"]
    assert exported.not_run in exported.facts["inspected"]
    assert refused(lambda: run_engine(exported.files["model.fp32.engine"])) == exported.not_run


@on_gpu
@pytest.mark.parametrize("precision", list(DTYPES))
def test_an_engine_answers_as_the_onnx_file_does_at_any_batch(precision: Precision) -> None:
    exported = build_engine(small(precision), precision, TensorRtSettings(batch=(2, 4, 8)))
    assert exported.run is not None
    assert "loaded on" in exported.facts["inspected"]
    assert exported.facts["batch"] == [2, 4, 8]
    images = torch.randn(19, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = onnx_logits(small(precision))(images)
    allowed = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.1}[precision] * float(expected.abs().max())
    for count in (1, 3, 8, 19):
        assert float((exported.run(images[:count]) - expected[:count]).abs().max()) < allowed


def test_images_are_cut_and_filled_up_to_what_an_engine_takes() -> None:
    network = torch.nn.Conv2d(3, 4, 5).eval()
    seen: list[int] = []

    def run(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return network(images).flatten(1)

    images = torch.randn(13, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(in_batches(run, 3, 6)(images), network(images).flatten(1))
    assert seen == [6, 6, 3]


@needs_rtx
def test_the_same_file_gives_the_same_facts() -> None:
    """The engine's bytes may differ: the library numbers what it makes, and does so in several threads."""
    first, second = (build_engine(quantised_convolution(), "int8", RTX) for _ in range(2))
    assert first.facts == second.facts


@needs_rtx
@pytest.mark.parametrize(
    ("wanted", "found"),
    [(["8.6"], {b"86"}), (["12.0", "8.0", "8.0"], {b"80", b"120"}), (["7.5"], {b"75"}), ([], {b"80"})],
)
def test_compute_capabilities_reach_the_engine(wanted: list[str], found: set[bytes]) -> None:
    settings = TensorRtSettings(library="tensorrt_rtx", compute_capabilities=wanted)
    exported = build_engine(quantised_convolution(), "int8", settings)
    assert set(re.findall(rb"sm(\d{2,3})", exported.files["model.int8.engine"])) == found
    assert exported.facts["compute_capabilities"] == (sorted(set(wanted), key=float) or "8.0 and newer")


@needs_rtx
@pytest.mark.parametrize("size", ["batch", 2])
def test_a_batch_is_open_or_the_files_own(size: int | str) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((8, 3, 16, 16), np.float32), "weights")
    nodes = [helper.make_node("Conv", ["images", "weights"], ["y"]), helper.make_node("Flatten", ["y"], ["logits"])]
    exported = build_engine(
        small_network(nodes, weights, size=size),
        "fp32",
        TensorRtSettings(library="tensorrt_rtx", compute_capabilities=["8.6"], batch=(2, 3, 5)),
    )
    assert exported.facts["batch"] == ([2, 3, 5] if size == "batch" else [2, 2, 2])
    assert exported.facts["inputs"][0]["shape"][0] == (-1 if size == "batch" else 2)


@needs_rtx
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"garbage" * 100, "no ONNX file, or a damaged one"),
        (small_network([])[:-20], "no ONNX file, or a damaged one"),
        (b"", "0 and 0"),
        (
            small_network([helper.make_node("Det", ["images"], ["logits"], name="twist")]),
            "the operator Det 'twist' is not supported",
        ),
        (
            small_network([helper.make_node("Mine", ["images"], ["logits"], name="own", domain="own")]),
            "the operator Mine 'own' is not supported",
        ),
        (
            small_network([helper.make_node("Add", ["images", "nowhere"], ["logits"], name="sum")]),
            "does not load in TensorRT-RTX .*sum",
        ),
        (quantised_convolution(np.uint8, 0), "'quantise' is uint8, but .* signed, symmetric activations"),
        (quantised_convolution(np.uint8, 128), "'quantise' is uint8 with a zero point"),
        (quantised_convolution(np.int8, 5), "'quantise' is int8 with a zero point"),
        (quantised_convolution(zero_point=None), "'quantise' is uint8, but"),
        (quantised_convolution(bias=True), "'offsets' holds a quantised bias"),
    ],
    ids=[
        "garbage",
        "cut off",
        "empty",
        "operator",
        "own operator",
        "dangling",
        "unsigned",
        "unsigned and shifted",
        "shifted",
        "unsigned by default",
        "bias",
    ],
)
def test_files_that_are_not_for_tensorrt_are_refused_in_one_line(content: bytes, why: str) -> None:
    with pytest.raises(ExportError, match=why) as refusal:
        build_engine(content, "int8", RTX)
    assert "\n" not in str(refusal.value)
    assert "Assertion" not in str(refusal.value)


@needs_rtx
def test_signed_and_symmetric_is_taken() -> None:
    exported = build_engine(quantised_convolution(), "int8", RTX)
    assert exported.facts["layers_with_weights"] == {"int8": 1}


@needs_rtx
def test_tensorrt_itself_would_take_unsigned_numbers_for_signed_ones() -> None:
    """What the check is for: TensorRT builds, though signed numbers of the same scale are other numbers."""
    built = open_library("tensorrt_rtx").build("the file", quantised_convolution(np.uint8), _one_image)
    assert any("UINT8" in text and "Defaulting to INT8" in text for text in built.log)
    images = torch.linspace(0, 25, 3 * 16 * 16).reshape(1, 3, 16, 16)
    unsigned, signed = (onnx_logits(quantised_convolution(dtype))(images) for dtype in (np.uint8, np.int8))
    assert not torch.allclose(unsigned, signed)


@needs_rtx
@pytest.mark.parametrize(
    ("given", "wanted"), [("fp32", "fp16"), ("fp32", "int8"), ("fp16", "fp32"), ("int8", "fp32"), ("int8", "fp16")]
)
def test_an_engine_in_another_precision_than_asked_is_refused(given: Precision, wanted: Precision) -> None:
    why = refused(lambda: build_engine(small(given), wanted, RTX))
    assert f"the engine computes in {DTYPES[given]}, not in {DTYPES[wanted]}" in why


@needs_rtx
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            TensorRtSettings(library="tensorrt_rtx", compute_capabilities=["8.6", "9.0"]),
            "not build for compute capability 9.0: choose .* 7.5, 8.0",
        ),
        (TensorRtSettings(library="tensorrt_rtx", compute_capabilities=["ampere"]), "compute capability ampere"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: TensorRtSettings, why: str) -> None:
    with pytest.raises(ExportError, match=why) as refusal:
        build_engine(small("fp32"), "fp32", settings)
    assert "\n" not in str(refusal.value)


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    open_library.cache_clear()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say that there is no such module
    assert "pip install 'fairnas[tensorrt]'" in refused(lambda: build_engine(small("fp32"), "fp32"))
    why = refused(lambda: build_engine(small("fp32"), "fp32", TensorRtSettings(library="tensorrt")))
    assert why == "TensorRT is not installed: pip install tensorrt"


@pytest.mark.skipif(find_library(("tensorrt",)) is not None, reason="TensorRT is installed")
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "raise OSError('libnvinfer.so.11: cannot open shared object file\\nand more')",
            "does not load: libnvinfer.so.11",
        ),
        ("", "does not load"),
        ("__version__ = '8.6.1'", "TensorRT 8.6.1 is too old: version 10"),
        pytest.param(
            "from tensorrt_rtx import *\nfrom tensorrt_rtx import __version__\n__version__ = '10.0'",
            "TensorRT builds on the GPU that runs the engine",
            marks=[needs_rtx, without_gpu],
        ),
    ],
    ids=["broken", "empty", "old", "whole, but no GPU"],
)
def test_an_installation_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert why in refused(lambda: build_engine(small("fp32"), "fp32", TensorRtSettings(library="tensorrt")))
    finally:
        sys.modules.pop("tensorrt", None)
        open_library.cache_clear()


@needs_rtx
@without_gpu
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")
def test_a_driver_that_is_too_old_is_named(tmp_path: Path) -> None:
    """A driver that says it is of CUDA 12.4, found by the real libraries."""
    (tmp_path / "driver.c").write_text(OLD_DRIVER)
    command = ["cc", "-shared", "-fPIC", "-o", "libcuda.so.1", "driver.c"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    (tmp_path / "model.onnx").write_bytes(quantised_convolution())
    (tmp_path / "build.py").write_text(BUILD)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "build.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    assert "driver on your system is too old (found version 12040)" in answer.stdout
    assert len(answer.stdout.splitlines()) == 1


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops.*:DeprecationWarning")
def test_a_timing_cache_is_kept_and_a_damaged_one_is_begun_anew(tmp_path: Path) -> None:
    library = open_library("tensorrt_rtx")
    builder = library.module.Builder(library.log)
    path = tmp_path / "folder" / "timing.cache"
    for content in (None, b"damaged"):
        if content:
            path.write_bytes(content)
        TimingCache(builder.create_builder_config(), path).save()
        assert path.stat().st_size > 50
    (tmp_path / "file").write_text("")
    TimingCache(builder.create_builder_config(), tmp_path / "file" / "timing.cache").save()


@needs_rtx
@without_gpu
def test_measuring_with_tensorrt_ends_in_one_line_where_an_engine_does_not_load() -> None:
    content = block_model(Block("conv", 3, 16, 32, 2, 3)).SerializeToString()
    with pytest.raises(LatencyError, match=r"does not load in TensorRT-RTX.*: .*CUDA") as refusal:
        TensorRTEngine("a block", content, torch.device("cuda", 0))
    assert "\n" not in str(refusal.value)
    with pytest.raises(LatencyError, match="a block does not load in TensorRT-RTX"):
        TensorRTEngine("a block", b"nonsense", torch.device("cuda", 0))


def test_a_log_without_a_description_says_nothing_of_an_engine() -> None:
    assert inspect_log(("Engine generation completed in 1 seconds.", "Layers:\n"), "the log") is None


def test_descriptions_by_older_libraries_are_read() -> None:
    text = "\n".join(
        [
            "Layers:",
            "Name: stem, LayerType: CaskConvolution, Inputs: [ { Name: images, Location: Device, Dimensions: "
            "[1,3,32,32], Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], Outputs: []",
            "Name: head, LayerType: gemm, Inputs: [ { Name: x, Location: Device, Dimensions: [1,32], "
            "Format/Datatype: Row major linear FP16 format }], Outputs: []",
            "Name: move, LayerType: Reformat, Inputs: [ { Name: y, Location: Device, Dimensions: [1,32], "
            "Format/Datatype: Row major linear FP32 }], Outputs: []",
        ]
    )
    assert [(layer.name, layer.weights) for layer in layers_of(text)] == [
        ("stem", "int8"),
        ("head", "float16"),
        ("move", None),
    ]


def _one_image(builder: Any, network: Any, config: Any) -> None:
    profile = builder.create_optimization_profile()
    profile.set_shape("images", *[(1, 3, 16, 16)] * 3)
    config.add_optimization_profile(profile)


OLD_DRIVER = """
#include <stdint.h>
#include <string.h>

int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, void *status) {
    *function = !strcmp(name, "cuDriverGetVersion") ? (void *)cuDriverGetVersion
              : !strcmp(name, "cuInit")             ? (void *)cuInit
              : !strcmp(name, "cuGetProcAddress")   ? (void *)cuGetProcAddress_v2 : 0;
    return *function ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, 0);
}
"""

BUILD = """
from pathlib import Path
from fairnas.exporters.tensorrt.build import build_engine
from fairnas.exporters.tensorrt.settings import TensorRtSettings
settings = TensorRtSettings(library="tensorrt_rtx", compute_capabilities=["8.6"])
print(build_engine(Path("model.onnx").read_bytes(), "int8", settings).not_run)
"""
