"""Networks that we did not make: what names mean, what is built, and one line for what cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from fairnas.models import (
    PUBLISHED,
    Architecture,
    TimmModel,
    UserModel,
    build_any_network,
    check_classifier,
    classes_of,
    code_of,
    get_space,
    parse_any_network,
)
from torch import nn
from torch.nn import functional

TINY = "test_efficientnet"
MODULE = '''
"""A user's own networks."""
import torch
from torch import nn

def make(num_classes=10):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = make(7)

    def forward(self, x):
        return self.body(x)

class Nested:
    inner = Net

instance = make(3)
number = 3

def anything(**kwargs):
    assert set(kwargs) <= {"num_classes"}  # as functions that pass on what they do not name
    return make()

def fails():
    raise RuntimeError("first line\\nsecond line")

def leaves():
    raise SystemExit(3)

def gives_text():
    return "a network"

class Maps(nn.Module):
    def forward(self, x):
        return x

class Large(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), 3 * 224 * 224)
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder, under a name that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", __import__("sys").path[:])
    name = f"users_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    return name


def test_what_names_mean(module: str) -> None:
    space = get_space("b")
    text = str(space.uniform("E3K3").with_se(1).with_hard_swish())
    assert parse_any_network("fairnas_a_se") == PUBLISHED["fairnas_a_se"]
    assert parse_any_network(text) == Architecture.parse(text)
    assert parse_any_network(TINY) == parse_any_network(f"timm:{TINY}") == TimmModel(TINY)
    assert parse_any_network(f"{module}:Nested.inner") == UserModel(module, "Nested.inner")


@pytest.mark.parametrize(
    "text", ["fairnas_c", f"timm:{TINY}", "package.module:Net.inner", "b:" + "-".join(["E3K3"] * 19)]
)
def test_text_round_trips(text: str) -> None:
    source = parse_any_network(text)
    assert parse_any_network(str(source)) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fairnas_d", "unknown network 'fairnas_d': did you mean fairnas_c, fairnas_b, fairnas_a\\? Networks"),
        ("mobilenetv2_10", "unknown network 'mobilenetv2_10': did you mean .*mobilenetv2_100"),
        ("timm:mobilenetv2_10", r"unknown network 'timm:mobilenetv2_10'"),
        ("", "unknown network '': Networks are named"),
        ("b:E3K3", "names 1 blocks"),
    ],
)
def test_unknown_names(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_any_network(text)
    assert "\n" not in str(caught.value)


def test_timms_networks_are_built_for_the_classes() -> None:
    network = build_any_network(TimmModel(TINY), num_classes=7, drop_rate=0.3, drop_path_rate=0.0)
    assert classes_of(network, 32) == 7
    assert getattr(network, "drop_rate", None) == 0.3


def test_timms_networks_start_where_they_know_nothing() -> None:
    """At the loss of a guess, log(classes): timm's own initialisation starts few classes at twice that and more."""
    torch.manual_seed(0)
    network = build_any_network(TimmModel("mobilenetv2_100"), num_classes=10)
    with torch.no_grad():
        loss = functional.cross_entropy(network(torch.randn(16, 3, 64, 64)), torch.arange(16) % 10)
    assert float(loss) == pytest.approx(math.log(10), rel=0.1)


def test_a_rate_that_timms_network_does_not_take() -> None:
    assert classes_of(build_any_network(TimmModel("ghostnet_050"), num_classes=2, drop_path_rate=0.0), 32) == 2
    with pytest.raises(ValueError, match=r"cannot make a network of timm:ghostnet_050: .*drop_path_rate"):
        build_any_network(TimmModel("ghostnet_050"), num_classes=2, drop_path_rate=0.1)


@pytest.mark.parametrize(
    ("attribute", "classes"), [("make", 5), ("Net", 7), ("Nested.inner", 7), ("instance", 3), ("anything", 10)]
)
def test_a_users_networks(module: str, attribute: str, classes: int) -> None:
    """A callable is given what its signature names; where that takes anything, `num_classes`."""
    network = build_any_network(UserModel(module, attribute), num_classes=5, drop_rate=0.2)
    assert classes_of(network, 32) == classes


def test_a_users_instance_stays_as_it_is(module: str) -> None:
    first, second = (build_any_network(UserModel(module, "instance")) for _ in range(2))
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(second.parameters()).abs().max() > 0


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("nothing", "AttributeError: module '.*' has no attribute 'nothing'"),
        ("Nested.nothing", "AttributeError: type object 'Nested' has no attribute 'nothing'"),
        ("", "AttributeError"),
        ("number", "TypeError: 3 is not a callable object"),
        ("fails", "RuntimeError: first line second line"),
        ("leaves", "SystemExit: 3"),
        ("gives_text", "is a str, not a torch.nn.Module"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(module: str, attribute: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_any_network(UserModel(module, attribute))
    assert str(caught.value).count("\n") == 0
    assert f"{module}:{attribute}" in str(caught.value)


@pytest.mark.parametrize("name", ["no_such_module", "", "..", "fairnas.nothing"])
def test_a_module_that_is_not_there(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot make a network of .*: (ModuleNotFoundError|ValueError|TypeError)"):
        build_any_network(UserModel(name, "x"))
    assert code_of(UserModel(name, "x")) is None


def test_the_code_of_a_users_network_is_known(module: str, tmp_path: Path) -> None:
    assert code_of(UserModel(module, "make")) == tmp_path / f"{module}.py"
    assert code_of(TimmModel(TINY)) is None
    assert code_of(PUBLISHED["fairnas_a"]) is None


def test_the_code_of_a_package_that_cannot_be_imported_is_unknown(tmp_path: Path, module: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("raise RuntimeError('no')")
    assert code_of(UserModel("broken.networks", "make")) is None


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Maps", "x: the network does not answer with logits [batch, classes], as classifiers do"),
        ("Large", "x: the network cannot take images of 32 px: "),
        ("instance", "x gives 3 logits, and the images have 10 classes"),
    ],
)
def test_what_does_not_classify_these_images(module: str, attribute: str, message: str) -> None:
    network = build_any_network(UserModel(module, attribute))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (all of the message is compared below)
        check_classifier(network, "x", (32,), 10)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_does_is_let_through_and_left_in_evaluation(module: str) -> None:
    network: nn.Module = build_any_network(UserModel(module, "make"), num_classes=10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_classifier(network, "x", (32, 64), 10)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
