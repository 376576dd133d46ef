"""Anybody's ONNX models: fixed to one size, or refused with what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import HostDevice, LatencyError, Rounds, block_model, measure
from fairnas.latency_tables.runtimes.onnx_files import fixed_shapes, load_fixed
from fairnas.models import Block
from onnx import TensorProto, helper, numpy_helper

BLOCK = Block("conv", 3, 4, 8, 2, 3)


def _open_model(*open_places: int) -> onnx.ModelProto:
    """A block whose input and output have open sizes at some places, the batch at 0."""
    model = block_model(BLOCK)
    for value in (*model.graph.input, *model.graph.output):
        for place in open_places:
            value.type.tensor_type.shape.dim[place].dim_param = f"size_{place}"
    return model


def _adder(*kinds: int) -> onnx.ModelProto:
    """A model that adds inputs of these types, one of them weights that are listed as an input too (IR version 3)."""
    inputs = [helper.make_tensor_value_info(f"x{place}", kind, [1, 2]) for place, kind in enumerate(kinds)]
    weights = numpy_helper.from_array(np.ones((1, 2), dtype=np.float32), "weights")
    nodes = [helper.make_node("Add", [inputs[0].name, "weights"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    listed = helper.make_tensor_value_info("weights", TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph(nodes, "adder", [*inputs, listed], [output], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _shape(model: onnx.ModelProto) -> list[int]:
    return [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]


def test_an_open_batch_becomes_one_and_the_model_is_left_as_it_is() -> None:
    model = _open_model(0)
    before = model.SerializeToString()
    assert _shape(fixed_shapes(model, "a model")) == [1, 3, 8, 8]
    assert model.SerializeToString() == before


@pytest.mark.parametrize("open_places", [(), (0,), (2, 3), (0, 1, 2, 3)])
def test_a_size_that_is_given_is_used(tmp_path: Path, open_places: tuple[int, ...]) -> None:
    path = tmp_path / "network.onnx"
    onnx.save(_open_model(*open_places), path)
    content = load_fixed(path, (1, 3, 8, 8))
    assert _shape(onnx.load_from_string(content)) == [1, 3, 8, 8]
    (timing,) = measure(HostDevice(), {"network": content}, Rounds(2, 2)).values()
    assert timing.rounds == 2


def test_a_size_other_than_the_files_own_is_used_where_the_network_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    onnx.save(_open_model(0, 2, 3), path)
    small, large = (HostDevice().outputs({"it": load_fixed(path, (1, 3, size, size))})["it"] for size in (8, 16))
    assert (small.size, large.size) == (4 * 4 * 4, 4 * 8 * 8)


def test_weights_that_are_listed_as_inputs_are_no_inputs() -> None:
    assert _shape(fixed_shapes(_adder(TensorProto.FLOAT), "adder", (1, 2))) == [1, 2]


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL, TensorProto.FLOAT16])
def test_inputs_of_other_numbers_are_converted_inside_and_timed(tmp_path: Path, kind: int) -> None:
    """Two inputs, one of them of another type, as of a network that takes a mask or tokens."""
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4]),
        helper.make_tensor_value_info("mask", kind, [1, 4]),
    ]
    nodes = [
        helper.make_node("Cast", ["mask"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image", "as_float"], ["y"]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "masked", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    content = load_fixed(tmp_path / "m.onnx", None)
    loaded = onnx.load_from_string(content) if isinstance(content, bytes) else content
    assert {value.type.tensor_type.elem_type for value in loaded.graph.input} == {TensorProto.FLOAT}
    (timing,) = measure(HostDevice(), {"network": content}, Rounds(2, 2)).values()
    assert timing.rounds == 2


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (_open_model(0, 2), None, "input 'input' has an open size: add --input-size 1x3x224x224"),
        (_open_model(0), (1, 3, 8), "input 'input' has 4 dimensions, the size given 3"),
        (_adder(TensorProto.FLOAT, TensorProto.FLOAT), (1, 2), "has 2 inputs: a size can be given to models with one"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(
    tmp_path: Path, model: onnx.ModelProto, size: tuple[int, ...] | None, message: str
) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LatencyError) as refusal:
        load_fixed(path, size)
    assert message in str(refusal.value)
    assert "odd.onnx" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"not a model", block_model(BLOCK).SerializeToString()[:200]])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(LatencyError) as refusal:
        load_fixed(path)
    assert f"{path} is not an ONNX model" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"there is no model .*none\.onnx"):
        load_fixed(tmp_path / "none.onnx")
