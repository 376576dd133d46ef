"""8 bits: calibrated on images, chosen by accuracy, every operator in 8 bits where it should be, and exact gates."""

from __future__ import annotations

import copy
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fairnas.exporters import ExportError
from fairnas.exporters.deployable import Exported, Samples
from fairnas.exporters.divergence import first_divergence, layer_errors
from fairnas.exporters.onnx.calibration import distributions
from fairnas.exporters.onnx.export import traced
from fairnas.exporters.onnx.float_layers import float_front
from fairnas.exporters.onnx.gates import absorb_gates, gate_ranges, spell_out_hard_swish
from fairnas.exporters.onnx.graph import inner_tensors, loaded, quiet_session
from fairnas.exporters.onnx.int8 import FILE, _Quantiser, quantise_onnx
from fairnas.exporters.onnx.prepare import prepared
from fairnas.exporters.onnx.settings import Int8Settings
from fairnas.latency_tables.runtimes.quantize import quantized_from
from onnx import TensorProto
from torch import nn

from tests.exporters.quantised_networks import exported_network, images

QUICK = Int8Settings(methods=["minmax"], max_drop=1.0)


def samples(network: nn.Module, calibration: int = 16, selection: int = 32) -> Samples:
    """Images, with the network's own answers as labels: a drop is then a disagreement."""
    chosen = images(selection, seed=3)
    return Samples(images(calibration, seed=2), chosen, network(chosen).argmax(1))


def quantise(
    name: str, settings: Int8Settings = QUICK, network: nn.Module | None = None, *, with_float_front: bool = True
) -> tuple[Exported, bytes]:
    """Quantise a small network; returns the float file too."""
    network, content = exported_network(name, network)
    taken = samples(network)
    return quantise_onnx(content, taken, settings, lambda text: None, with_float_front=with_float_front), content


def relative_error(expected: torch.Tensor, answered: torch.Tensor) -> float:
    """Root mean square of the difference, relative to that of what was expected."""
    return float((expected - answered).square().mean().sqrt() / expected.square().mean().sqrt())


def run_operators(content: bytes) -> Counter[str]:
    """Operators that ONNX Runtime runs on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        quiet_session(content, str(path))
        return Counter(node.op_type for node in onnx.load(path).graph.node)


class TestWhatRunsInEightBits:
    def test_relu6_networks_are_all_in_8_bits_but_for_the_front(self) -> None:
        exported, _ = quantise("fairnas_c")
        kinds = run_operators(exported.files[FILE])
        # Stem and the depthwise convolution after it are the front; every ReLU6 became part of its convolution.
        assert kinds["Conv"] == 2
        assert kinds["QLinearConv"] == 59
        assert kinds["QLinearAdd"] == 13
        assert not kinds["Clip"] + kinds["Add"] + kinds["Identity"]
        assert kinds["QuantizeLinear"] == 1
        assert exported.facts["convolutions"] == {"all": 61, "int8": 59, "share": pytest.approx(59 / 61)}
        assert [each["name"] for each in exported.facts["float_layers"]] == [
            "/conv_stem/Conv",
            "/blocks/blocks.0/blocks.0.0/conv_dw/Conv",
        ]

    @pytest.mark.parametrize("name", ["mobilenetv3_small_050", "efficientnet_lite0"])
    def test_without_a_front_nothing_is_left_in_float(self, name: str) -> None:
        exported, _ = quantise(name, QUICK, with_float_front=False)
        kinds = run_operators(exported.files[FILE])
        in_float = {"Conv", "FusedConv", "Gemm", "Add", "Mul", "HardSigmoid", "HardSwish", "ReduceMean", "Clip", "Relu"}
        assert not in_float & set(kinds)
        assert kinds["QuantizeLinear"] == 1
        assert exported.facts["float_layers"] == []
        assert exported.facts["convolutions"]["share"] == 1

    def test_equal_biases_do_not_put_convolutions_back_to_float(self) -> None:
        """PyTorch's exporter stores them once and hands them out through Identity nodes."""
        layers = [nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(3)]
        for layer in layers:
            nn.init.constant_(layer[0].bias, 0.25)  # pyright: ignore[reportArgumentType]
        network = nn.Sequential(nn.Conv2d(3, 16, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        exported, content = quantise("equal_biases", network=network)
        assert "Identity" in {node.op_type for node in loaded(content).graph.node}
        assert run_operators(exported.files[FILE])["QLinearConv"] == 3

    def test_weights_have_a_scale_per_channel_and_activations_one(self) -> None:
        exported, _ = quantise("fairnas_c")
        model = loaded(exported.files[FILE])
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        weights = [
            node
            for node in model.graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in stored and len(stored[node.input[0]].dims) == 4
        ]
        assert len(weights) == 59
        for node in weights:
            assert stored[node.input[0]].data_type == TensorProto.INT8
            assert list(stored[node.input[1]].dims) == [stored[node.input[0]].dims[0]]
            assert not onnx.numpy_helper.to_array(stored[node.input[2]]).any()
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear":
                assert stored[node.input[2]].data_type == TensorProto.UINT8
                assert not stored[node.input[1]].dims

    def test_signed_is_symmetric_with_float_biases_and_only_inputs_quantised(self) -> None:
        exported, _ = quantise(
            "mobilenetv3_small_050", Int8Settings(activations="signed", methods=["minmax"], max_drop=1.0)
        )
        model = loaded(exported.files[FILE])
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        made = {name: node for node in model.graph.node for name in node.output}
        seen = Counter()
        for node in model.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                assert stored[node.input[2]].dtype == np.int8
                assert not stored[node.input[2]].any()
                seen[node.op_type] += 1
            if node.op_type == "Conv":
                assert stored[node.input[2]].dtype == np.float32
                assert made[node.input[0]].op_type == made[node.input[1]].op_type == "DequantizeLinear"
            if node.op_type in ("HardSigmoid", "Mul"):
                assert "DequantizeLinear" not in {made[name].op_type for name in node.input}
                seen[node.op_type] += 1
        assert all(seen[kind] for kind in ("QuantizeLinear", "HardSigmoid", "Mul"))
        assert exported.facts["float_layers"] == []


class TestAnswers:
    @pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18"])
    def test_they_stay_close_and_the_file_is_small(self, name: str) -> None:
        exported, content = quantise(name)
        network, _ = exported_network(name)
        assert exported.format == "onnx-int8"
        assert list(exported.files) == [FILE]
        assert len(exported.files[FILE]) < 0.45 * len(content)  # names and scales weigh in a small one
        assert exported.run is not None
        assert exported.run(images()).dtype == torch.float32
        # Networks with random weights amplify rounding from layer to layer; but no layer adds much of its own.
        errors = [each.error for each in layer_errors(content, exported.files[FILE], images())]
        added = np.diff(np.maximum.accumulate(errors))
        assert 1e-4 < added.max() < 0.25
        assert errors[-1] == pytest.approx(relative_error(network(images()), exported.run(images())), rel=0.05)

    def test_metadata_input_and_output_are_kept_and_any_batch_runs(self) -> None:
        exported, content = quantise("mobilenetv3_small_050")
        before, after = loaded(content), loaded(exported.files[FILE])
        assert {e.key: e.value for e in before.metadata_props} == {e.key: e.value for e in after.metadata_props}
        assert list(before.graph.input) == list(after.graph.input)
        assert list(before.graph.output) == list(after.graph.output)
        assert exported.run is not None
        one_by_one = torch.cat([exported.run(image[None]) for image in images(3)])
        torch.testing.assert_close(exported.run(images(3)), one_by_one)

    def test_the_same_weights_and_images_give_the_same_bytes(self) -> None:
        assert quantise("mobilenetv3_small_050")[0].files == quantise("mobilenetv3_small_050")[0].files

    def test_the_layer_where_it_begins_to_differ_has_a_name(self) -> None:
        exported, content = quantise("mobilenetv3_small_050")
        assert first_divergence(content, exported.files[FILE], images(), 10.0) is None
        found = first_divergence(content, exported.files[FILE], images(), 1e-4)
        assert found is not None
        assert found.layer in {node.name for node in loaded(content).graph.node}
        # A weight that is spoilt in the 8-bit file only.
        model = loaded(exported.files[FILE])
        node = next(node for node in model.graph.node if node.name == "/blocks/blocks.3/blocks.3.0/conv_pw/Conv")
        source = next(each for each in model.graph.node if node.input[1] in each.output)
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == source.input[0])
        flipped = -onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(flipped, weight.name))
        spoilt = first_divergence(content, model, images(), 0.6)
        assert spoilt is not None
        assert spoilt.layer == node.name


class TestChoices:
    def test_facts_are_json_and_name_the_best_method(self) -> None:
        exported, _ = quantise("mobilenetv3_small_050", Int8Settings(max_drop=1.0))
        facts = json.loads(json.dumps(exported.facts))
        tried = facts["calibration"]["tried"]
        assert set(tried) == {"minmax", "percentile", "entropy"}
        best = min(tried, key=lambda each: (-tried[each]["top1"], tried[each]["mean_logit_difference"]))
        assert facts["calibration"]["method"] == best
        assert facts["selection"]["int8_top1"] == tried[best]["top1"]
        assert facts["selection"]["float_top1"] == 1.0

    def test_sensitive_layers_return_to_float_only_while_the_drop_is_too_large(self) -> None:
        network = _with_uneven_channels(exported_network("resnet18")[0])
        content = exported_network("uneven", network)[1]
        taken = samples(network, selection=64)
        lax = quantise_onnx(content, taken, Int8Settings(methods=["minmax"], max_drop=1.0), lambda text: None)
        strict = Int8Settings(methods=["minmax"], max_drop=0.15, max_float_layers=2)
        told: list[str] = []
        mended = quantise_onnx(content, taken, strict, told.append)
        assert lax.facts["selection"]["drop"] > 0.15 >= mended.facts["selection"]["drop"]
        sensitive = {each["name"] for each in mended.facts["float_layers"] if each["why"].startswith("sensitive")}
        # What the first gives cannot be held in 8 bits, so both have to be in float, and really are when it runs.
        assert sensitive == {"/layer2/layer2.0/conv1/Conv", "/layer2/layer2.0/conv2/Conv"}
        assert not [each for each in lax.facts["float_layers"] if each["why"].startswith("sensitive")]
        assert mended.facts["convolutions"]["int8"] == lax.facts["convolutions"]["int8"] - 2
        assert any("sensitivity" in text for text in told)

    def test_a_single_layer_left_in_float_is_not_quantised_by_the_runtime(self) -> None:
        """ONNX Runtime quantises the float weights of a convolution between 8-bit tensors, with a single scale."""
        network, content = exported_network("resnet18")
        work = _Quantiser(loaded(content), samples(network), QUICK, lambda text: None)
        for layers in (["/layer2/layer2.0/conv1/Conv"], ["/layer1/layer1.0/conv2/Conv", "/fc/Gemm"]):
            kinds = run_operators(work.content("minmax", layers))
            assert kinds["QLinearConv"] == 18
            assert kinds["Conv"] == 2  # with the front
            assert kinds["QGemm"] == 2 - len(layers)

    def test_the_budget_of_float_layers_may_be_none(self) -> None:
        exported, _ = quantise("resnet18", Int8Settings(methods=["minmax"], max_drop=0.0, max_float_layers=0))
        assert not [each for each in exported.facts["float_layers"] if each["why"].startswith("sensitive")]

    def test_what_cannot_be_quantised_is_refused_in_one_line(self) -> None:
        network, content = exported_network("resnet18")
        taken = samples(network)
        empty = Samples(taken.calibration[:0], taken.selection, taken.labels)
        other_size = Samples(taken.calibration[..., :16], taken.selection[..., :16], taken.labels)
        two = loaded(content)
        two.graph.output.append(onnx.ValueInfoProto(name=two.graph.node[-2].output[0]))
        for model, given in (
            (content, empty),
            (content, other_size),
            (b"no model", taken),
            (two.SerializeToString(), taken),
        ):
            with pytest.raises(ExportError) as caught:
                quantise_onnx(model, given, QUICK, lambda text: None)
            assert "\n" not in str(caught.value)


def _with_uneven_channels(network: nn.Module) -> nn.Module:
    """The same function, but one layer gives a channel 3,000 times as large, which the next takes back."""
    changed = copy.deepcopy(network)
    norm, following = changed.get_submodule("layer2.0.bn1"), changed.get_submodule("layer2.0.conv2")
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(following, nn.Conv2d)
    with torch.no_grad():
        norm.weight[0] *= 3000
        norm.bias[0] *= 3000
        following.weight[:, 0] /= 3000
    return changed


class TestGates:
    @pytest.mark.parametrize("activation", [nn.Hardswish, nn.Hardsigmoid])
    @pytest.mark.parametrize("largest", [1.0, 4.0, 30.0])
    def test_a_hard_sigmoid_in_8_bits_is_exact(self, activation: type[nn.Module], largest: float) -> None:
        """But for the rounding of what it takes, and of what it gives."""
        convolution = nn.Conv2d(3, 4, 1, bias=False)
        network = nn.Sequential(convolution, activation(), nn.Conv2d(4, 2, 1))
        taken = images(4)
        with torch.no_grad():
            convolution.weight *= largest / convolution(taken).abs().max()
        model = prepared(traced(network, (1, 3, 32, 32)))
        spell_out_hard_swish(model)
        names = [name for node in model.graph.node for name in node.output]
        found = distributions(model, ["images", *names], taken, histograms=False)
        ranges = {name: each.range("minmax", 100) for name, each in found.items()}
        assert set(gate_ranges(model, ranges)) == {names[0], names[1]}
        ranges |= gate_ranges(model, ranges)
        operators = ["Conv", "Mul", "HardSigmoid"]
        inputs = [{"images": taken[:1].numpy()}]
        model = quantized_from(inputs, model, ranges=ranges, operators=operators, exclude=[model.graph.node[0].name])
        absorb_gates(model)
        onnx.checker.check_model(model, full_check=True)
        assert "HardSigmoid" not in {node.op_type for node in model.graph.node}
        result = names[2] if activation is nn.Hardswish else None
        if result is None:  # of the gate alone nothing but its reader is left
            result = next(node.output[0] for node in model.graph.node if node.output[0] in model.graph.node[-1].input)
            result = _input_of_the_last_convolution(model)
        (values,) = inner_tensors(model, [result], taken, batch=4)
        with torch.no_grad():
            expected = activation()(convolution(taken)).numpy()
        step = (max(3.0, largest) + 3) / 255  # of what it takes
        slope = 1.5 if activation is nn.Hardswish else 1 / 6
        rounding = 0.01 if activation is nn.Hardsigmoid else max(largest, 3) / 255
        assert np.abs(values[result] - expected).max() < 0.75 * step * slope + rounding

    def test_what_others_read_too_is_not_cut_off(self) -> None:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.gate = nn.Conv2d(3, 4, 1), nn.Hardswish()

            def forward(self, value: torch.Tensor) -> torch.Tensor:
                value = self.first(value)
                return self.gate(value) + value

        model = prepared(traced(Both(), (1, 3, 32, 32)))
        spell_out_hard_swish(model)
        names = [name for node in model.graph.node for name in node.output]
        assert gate_ranges(model, dict.fromkeys(names, (-9.0, 9.0))) == {}


def _input_of_the_last_convolution(model: onnx.ModelProto) -> str:
    return [node for node in model.graph.node if node.op_type == "Conv"][-1].input[0]


class TestPreparing:
    @pytest.mark.parametrize("name", ["fairnas_c", "fairnas_c_se_hswish", "resnet18"])
    def test_answers_do_not_change(self, name: str) -> None:
        _, content = exported_network(name)
        original = loaded(content)
        model = prepared(original)
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"Identity", "Constant", "ReduceMean"}
        assert original.SerializeToString() == loaded(content).SerializeToString()
        spell_out_hard_swish(model)
        assert "HardSwish" not in {node.op_type for node in model.graph.node}
        (before,) = inner_tensors(original, ["logits"], images())
        (after,) = inner_tensors(model, ["logits"], images())
        np.testing.assert_allclose(after["logits"], before["logits"], rtol=1e-3, atol=1e-3)

    def test_the_front_ends_before_the_first_layer_that_8_bits_make_faster(self) -> None:
        last = {
            "fairnas_c": "/blocks/blocks.0/blocks.0.0/bn1/act/Clip",
            "fairnas_c_se_hswish": "/blocks/blocks.4/blocks.4.0/se/Mul",
            "resnet18": "/maxpool/MaxPool",
        }
        for name, node in last.items():
            assert float_front(prepared(loaded(exported_network(name)[1])))[-1] == node

    def test_a_network_that_is_narrow_all_over_has_no_front(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 8, 3), nn.Flatten())
        assert float_front(prepared(traced(network, (1, 3, 8, 8)))) == []


class TestRanges:
    def test_they_hold_zero_and_what_was_seen(self) -> None:
        _, content = exported_network("resnet18")
        model = loaded(content)
        name = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
        taken = images(9)
        (values,) = inner_tensors(model, [name], taken, batch=9)
        found = distributions(model, [name, "images"], taken, histograms=True)[name]
        assert found.range("minmax", 99.0) == (0.0, pytest.approx(float(values[name].max())))
        low, high = found.range("percentile", 99.0)
        assert low == 0
        assert high == pytest.approx(np.quantile(values[name], 0.995), rel=0.02)

    def test_entropy_cuts_off_what_is_rare_and_keeps_what_is_not(self) -> None:
        """A Gaussian keeps about 4 standard deviations of 8-bit levels; a uniform distribution keeps everything."""

        class Given(nn.Module):
            def forward(self, value: torch.Tensor) -> torch.Tensor:
                return value * 1.0

        model = traced(Given(), (1, 3, 32, 32))
        generator = torch.Generator().manual_seed(0)
        gaussian = torch.randn(40, 3, 32, 32, generator=generator)
        gaussian[0, 0, 0, 0] = 40
        low, high = distributions(model, ["images"], gaussian, histograms=True)["images"].range("entropy", 100)
        assert 2.5 < high < 8
        assert low >= -8
        uniform = torch.rand(40, 3, 32, 32, generator=generator)
        found = distributions(model, ["images"], uniform, histograms=True)["images"]
        assert found.range("entropy", 100)[1] > 0.95
