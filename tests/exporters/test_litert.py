from __future__ import annotations

import copy
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import timm
import torch
from fairnas.exporters.deployable import Deployable, Exported, Samples
from fairnas.exporters.errors import ExportError
from fairnas.exporters.litert.divergence import litert_divergence
from fairnas.exporters.litert.export import to_litert, to_litert_int8
from fairnas.exporters.litert.files import operators, read_metadata, with_metadata
from fairnas.exporters.litert.int8 import choose_int8
from fairnas.exporters.litert.runtime import litert_latency, litert_logits
from fairnas.exporters.litert.settings import LiteRtSettings
from fairnas.exporters.onnx.export import Preprocessing
from fairnas.exporters.parity import compare
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import Tensor, nn

for library in ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(library, reason="LiteRT is not installed: pip install 'fairnas[litert]'")

SIDE = 32
CLASSES = ("cat", "dog", "fish")


def small_network() -> nn.Module:
    """Everything that our networks are made of, in a few layers: strides, depthwise, squeeze-and-excite, hard-Swish."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(inplace=True),
        InvertedResidual(8, 8, exp_ratio=3.0, act_layer=nn.ReLU6),
        InvertedResidual(
            8, 16, dw_kernel_size=5, stride=2, exp_ratio=3.0, act_layer=nn.Hardswish,
            se_layer=partial(SqueezeExcite, gate_layer=nn.Hardsigmoid),  # pyright: ignore[reportArgumentType]
        ),
        InvertedResidual(16, 16, exp_ratio=2.0, act_layer=nn.SiLU, se_layer=SqueezeExcite),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, len(CLASSES)),
    )  # fmt: skip


def deployable(network: nn.Module) -> Deployable:
    return Deployable("small", network, Preprocessing(SIDE, 0.875, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)), CLASSES)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model(images: Tensor) -> Deployable:
    torch.manual_seed(0)
    network = small_network()
    for _ in range(3):  # batch norms learn what passes
        network(images)
    return deployable(network.eval())


@pytest.fixture(scope="module")
def samples(model: Deployable, images: Tensor) -> Samples:
    with torch.inference_mode():
        return Samples(images[:32], images[32:], model.network(images[32:]).argmax(1))


@pytest.fixture(scope="module")
def exported(model: Deployable) -> Exported:
    return to_litert(model, LiteRtSettings())


@pytest.fixture(scope="module")
def int8(model: Deployable, samples: Samples) -> Exported:
    return to_litert_int8(model, samples, LiteRtSettings())


def content_of(exported: Exported) -> bytes:
    return next(iter(exported.files.values()))


def details(content: bytes) -> tuple[dict, dict]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    (runner,) = interpreter.get_signature_list().values()
    assert runner == {"inputs": ["images"], "outputs": ["logits"]}
    return interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def test_answers_as_pytorch_does(model: Deployable, exported: Exported, images: Tensor) -> None:
    assert exported.format == "litert"
    assert list(exported.files) == ["model.tflite"]
    assert exported.facts["xnnpack_parts"] == 1
    assert exported.run is not None
    parity = compare(model.network, exported.run, images.split(5))
    assert parity.max_relative_difference < 1e-5
    assert parity.top1_agreement == 1


def test_says_what_it_takes_and_gives(exported: Exported) -> None:
    taken, given = details(content_of(exported))
    assert list(taken["shape"]) == exported.facts["input"]["shape"] == [1, SIDE, SIDE, 3]
    assert list(given["shape"]) == exported.facts["output"]["shape"] == [1, len(CLASSES)]
    metadata = read_metadata(content_of(exported))
    assert metadata["name"] == "small"
    assert metadata["layout"] == "nhwc"
    assert json.loads(metadata["labels"]) == list(CLASSES)
    assert json.loads(metadata["preprocessing"])["mean"] == [0.5, 0.4, 0.3]


def test_channels_last_needs_no_transposition_and_channels_first_one(
    model: Deployable, exported: Exported, images: Tensor
) -> None:
    assert "TRANSPOSE" not in exported.facts["operators"]["float32"]
    first = to_litert(model, LiteRtSettings(layout="nchw"))
    assert first.facts["operators"]["float32"]["TRANSPOSE"] == 1
    assert list(details(content_of(first))[0]["shape"]) == [1, 3, SIDE, SIDE]
    assert exported.run is not None
    assert first.run is not None
    torch.testing.assert_close(first.run(images), exported.run(images))


def test_same_weights_same_bytes_and_the_network_is_left_alone(model: Deployable, exported: Exported) -> None:
    before = copy.deepcopy(model.network.state_dict())
    assert content_of(to_litert(model, LiteRtSettings())) == content_of(exported)
    assert not model.network.training
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_metadata_is_replaced_and_the_network_kept(exported: Exported, images: Tensor) -> None:
    changed = with_metadata(content_of(exported), {"labels": "[]"})
    assert read_metadata(changed) == read_metadata(content_of(exported)) | {"labels": "[]"}
    assert exported.run is not None
    assert torch.equal(litert_logits(changed)(images[:2]), exported.run(images[:2]))


def test_int8_computes_in_integers(int8: Exported, exported: Exported) -> None:
    assert int8.format == "litert-int8"
    assert list(int8.files) == ["model.int8.tflite"]
    found = operators(content_of(int8))
    assert found == int8.facts["operators"]
    assert int8.facts["xnnpack_parts"] == 1 + found["int8"]["HARD_SWISH"], "which XNNPACK knows in float only"
    assert found["float32"] == int8.facts["float_operators"] == {"DEQUANTIZE": 1}, "of the logits"
    floats = exported.facts["operators"]["float32"]
    for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "MEAN"):
        assert found["int8"][name] == floats[name]
    taken, given = details(content_of(int8))
    assert taken["dtype"] is given["dtype"] is np.float32


def test_int8_answers_as_the_network_and_the_best_way_is_taken(
    model: Deployable, int8: Exported, samples: Samples
) -> None:
    assert int8.run is not None
    parity = compare(model.network, int8.run, [samples.selection])
    assert 0 < parity.max_relative_difference < 0.1
    top1 = int8.facts["selection_top1"]
    assert set(top1) == {"mean", "minmax"}
    assert top1[int8.facts["calibration"]] == max(top1.values()) == pytest.approx(parity.top1_agreement)


def test_int8_on_request_takes_and_gives_int8(exported: Exported, int8: Exported, samples: Samples) -> None:
    pure, _ = choose_int8(content_of(exported), samples, int8_io=True, threads=1)
    taken, given = details(pure)
    assert taken["dtype"] is given["dtype"] is np.int8
    assert list(operators(pure)) == ["int8"]
    assert int8.run is not None
    torch.testing.assert_close(litert_logits(pure)(samples.selection), int8.run(samples.selection))


def test_the_first_layer_that_differs_is_named(model: Deployable, exported: Exported, images: Tensor) -> None:
    assert litert_divergence(model.network, content_of(exported), images[:4], 1e-4) is None
    other = copy.deepcopy(model.network)
    with torch.no_grad():
        other.get_parameter("4.conv_dw.weight")[3] *= 1.5
    found = litert_divergence(other, content_of(exported), images[:4], 1e-4)
    assert found is not None
    assert found.layer == "4.conv_dw"
    assert found.error > found.tolerance == 1e-4


def test_every_layer_is_compared(model: Deployable, exported: Exported, images: Tensor) -> None:
    layers = [name for name, module in model.network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for name in layers:
        other = copy.deepcopy(model.network)
        with torch.no_grad():
            other.get_parameter(f"{name}.weight").mul_(1.2)
        found = litert_divergence(other, content_of(exported), images[:2], 1e-3)
        assert found is not None
        assert found.layer == name


def test_int8_differs_by_its_steps(model: Deployable, int8: Exported, images: Tensor) -> None:
    assert litert_divergence(model.network, content_of(int8), images[:4], 0.2) is None
    found = litert_divergence(model.network, content_of(int8), images[:4], 1e-4)
    assert found is not None
    assert found.layer == "0"


def test_latency(exported: Exported) -> None:
    shortest, median = litert_latency(content_of(exported), (1, 3, SIDE, SIDE), runs=5)
    assert 0 < shortest <= median
    with pytest.raises(ExportError, match=r"takes \[1, 32, 32, 3\], not images of \[1, 3, 48, 48\]"):
        litert_latency(content_of(exported), (1, 3, 48, 48), runs=5)


def test_a_missing_library_names_the_extra(
    model: Deployable, exported: Exported, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = content_of(exported)
    for library, use in {
        "litert_torch": lambda: to_litert(model, LiteRtSettings()),
        "ai_edge_quantizer": lambda: choose_int8(content, samples, int8_io=False, threads=1),
        "ai_edge_litert.interpreter": lambda: litert_logits(content),
        "ai_edge_litert.tools": lambda: operators(content),
    }.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, library, None)
            with pytest.raises(ExportError, match=r"^LiteRT is not installed: pip install 'fairnas\[litert\]'$"):
                use()


class Undecided(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 0:
            return images.mean((2, 3))
        return images.amax((2, 3))


class Singular(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.svdvals(images.mean(1))


@pytest.mark.parametrize("network", [Undecided(), Singular()])
def test_what_cannot_be_converted_is_said_in_one_line(network: nn.Module) -> None:
    with pytest.raises(ExportError, match=r"^small cannot become a LiteRT file: ") as caught:
        to_litert(deployable(network.eval()), LiteRtSettings())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_is_none() -> None:
    with pytest.raises(ExportError, match="LiteRT cannot load the file: "):
        litert_logits(b"no model")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fairnas_c", "fairnas_c_se_hswish", "mobilenetv3_large_100"])
def test_published_networks(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=len(CLASSES))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # their statistics are those of these images
    with torch.no_grad():
        network.train()(images)
    exported = to_litert(deployable(network.eval()), LiteRtSettings())
    assert exported.run is not None
    parity = compare(network, exported.run, [images[:8]])
    assert parity.max_relative_difference < 1e-4
    assert parity.top1_agreement == 1
    assert litert_divergence(network, content_of(exported), images[:2], 1e-3) is None


SILENT = """
import sys
reached = []
network_events = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
sys.addaudithook(lambda event, args: event in network_events and reached.append((event, args)))
import torch
from fairnas.exporters.deployable import Deployable, Samples
from fairnas.exporters.litert.export import to_litert_int8
from fairnas.exporters.litert.settings import LiteRtSettings
from fairnas.exporters.onnx.export import Preprocessing
from torch import nn
network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
model = Deployable("tiny", network, Preprocessing(8, 1.0, (0.5,) * 3, (0.2,) * 3), tuple("abcd"))
images = torch.randn(4, 3, 8, 8)
exported = to_litert_int8(model, Samples(images, images, torch.zeros(4).long()), LiteRtSettings())
exported.run(images)
assert not reached, reached
"""


def test_says_nothing_and_asks_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
