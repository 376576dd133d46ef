"""Weights from files: they fit, or one line says why they do not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairnas.models import PUBLISHED, build_network
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.training.weights import check_weights_file, load_weights, stated_resolution
from safetensors.torch import save_file
from torch import Tensor, nn

CLASSIFIER = ["classifier.weight", "classifier.bias"]


def network(classes: int = 10, name: str = "fairnas_c", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(PUBLISHED[name], width=0.25, num_classes=classes)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_file(network(seed=1).state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name in one if one[name].shape == other[name].shape and torch.equal(one[name], other[name])}


@pytest.mark.parametrize("new_classifier", [False, True])
def test_all_weights_are_taken_over(saved: Path, new_classifier: bool) -> None:
    loaded = network(seed=2)
    assert load_weights(loaded, saved, new_classifier=new_classifier) == []
    assert same(loaded.state_dict(), network(seed=1).state_dict()) == loaded.state_dict().keys()


def test_a_classifier_of_other_classes_stays_new(saved: Path) -> None:
    loaded, fresh = network(7, seed=2), network(7, seed=2)
    assert load_weights(loaded, saved, new_classifier=True) == CLASSIFIER
    state = loaded.state_dict()
    assert same(state, network(seed=1).state_dict()) == state.keys() - set(CLASSIFIER)
    assert set(CLASSIFIER) <= same(state, fresh.state_dict())


def test_a_file_without_classifier_leaves_the_networks_own(saved: Path, tmp_path: Path) -> None:
    body = {name: value for name, value in network(seed=1).state_dict().items() if name not in CLASSIFIER}
    save_file(body, tmp_path / "body.safetensors")
    assert load_weights(network(7), tmp_path / "body.safetensors", new_classifier=True) == CLASSIFIER
    with pytest.raises(UserError, match=r"2 tensors are missing, first \['classifier.bias'\]"):
        load_weights(network(7), tmp_path / "body.safetensors")


def refused(path: Path, into: nn.Module, *, new_classifier: bool = False) -> str:
    before = {name: value.clone() for name, value in into.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(into, path, new_classifier=new_classifier)
    assert same(before, into.state_dict()) == before.keys()  # nothing was half loaded
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    assert "2 have another shape, first ['classifier.bias']" in refused(saved, network(7))
    assert "have another shape" in refused(saved, network(7, "fairnas_a"), new_classifier=True)
    assert "tensors are missing, first" in refused(saved, network(name="fairnas_c_se"))
    assert "are of no layer of it, first" in refused(saved, nn.Sequential(nn.Linear(2, 2)), new_classifier=True)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04N."])
def test_files_of_other_formats_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert "cannot read weights from" in refused(path, nn.Linear(2, 2))


def test_no_file(tmp_path: Path) -> None:
    assert "nowhere.safetensors does not exist" in refused(tmp_path / "nowhere.safetensors", nn.Linear(2, 2))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda _: None])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "w.safetensors"
    make(path)
    with pytest.raises(UserError, match=str(path)):
        check_weights_file(path)
    assert str(path) in refused(path, nn.Linear(2, 2))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}"])
def test_garbage_is_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"it is no \.safetensors file"):
        check_weights_file(path, "retrain.weights: ")


def test_the_resolution_is_what_is_said_beside_or_inside(tmp_path: Path) -> None:
    tensors = {"x": torch.zeros(1)}
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path)
    assert stated_resolution(path) is None
    save_file(tensors, path, metadata={"resolution": "96"})
    assert stated_resolution(path) == 96
    (tmp_path / "result.json").write_text(json.dumps({"resolution": 64}))
    assert stated_resolution(path) == 64
    assert stated_resolution(path.rename(tmp_path / "mine.safetensors")) == 96  # the result beside is of another file
    save_file(tensors, tmp_path / "mine.safetensors", metadata={"resolution": "large"})
    assert stated_resolution(tmp_path / "mine.safetensors") is None
