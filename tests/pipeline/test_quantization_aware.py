"""Quantisation-aware tuning wins back what int8 loses, and a tuning that was interrupted ends as an unbroken one."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairnas.exporters import onnx_logits
from fairnas.models.folding import folded, load_folded
from fairnas.pipeline.data import Augment, Dataset, batches_per_epoch, eval_batches, load_dataset, train_batches
from fairnas.pipeline.errors import Paused, UserError
from fairnas.pipeline.export.quantization_aware import tune_for_int8
from fairnas.pipeline.export.settings import TuneConfig
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.training.shared import top1
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from ..exporters import int8_arithmetic
from ..exporters.small_mobile import int8_file, small_mobile

RESOLUTION = 16
SETTINGS = TuneConfig.model_validate({"epochs": 4, "lr": 4e-3, "augment": {"level": "none"}})


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0)


@pytest.fixture(scope="module")
def few_digits(digits: Dataset) -> Dataset:
    return replace(digits, train=digits.train.subset(range(200)), val=digits.val.subset(range(50)))


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    network = small_mobile().train()
    steps = batches_per_epoch(len(digits.full_train), 64)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=8, steps_per_epoch=steps)
    for epoch in range(8):
        for images, labels in train_batches(
            digits.full_train, batch_size=64, resolution=RESOLUTION, augment=Augment(level="none"), seed=0, epoch=epoch
        ):
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def unbalanced(network: nn.Module, spread: float) -> nn.Module:
    """The same function, but the channels inside the blocks are of very different sizes.

    ReLU lets a channel be multiplied by what the next layer divides it by. With one scale for all of them, 8 bits then
    have few steps for the small ones, as in MobileNets (Nagel et al. 2019, arXiv 1906.04721, section 3.1).
    """
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in network.modules():
            if not hasattr(block, "conv_pwl"):
                continue
            for norm, following, dim in (("bn1", "conv_dw", 0), ("bn2", "conv_pwl", 1)):
                weight, bias = (block.get_parameter(f"{norm}.{name}") for name in ("weight", "bias"))
                order = torch.randperm(len(weight), generator=generator)
                factors = spread ** torch.linspace(0, 1, len(weight))[order]
                weight *= factors
                bias *= factors
                shape = [1, 1, 1, 1]
                shape[dim] = -1
                block.get_parameter(f"{following}.weight").div_(factors.view(shape))
    return network


def metrics(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.skipif(not int8_arithmetic.is_exact(), reason=int8_arithmetic.WHY)
def test_tuning_wins_back_what_int8_loses(trained: nn.Module, digits: Dataset, tmp_path: Path) -> None:
    network = unbalanced(trained, spread=300)
    spread = torch.linspace(0, len(digits.train) - 1, 256).long()
    ((images, labels),) = eval_batches(digits.train.subset(spread), batch_size=256, resolution=RESOLUTION)

    def accuracy(forward: Any) -> float:
        return top1(forward, digits.val, 256, RESOLUTION, torch.device("cpu"))

    def as_int8(network: nn.Module) -> float:
        return accuracy(onnx_logits(int8_file(network, images, labels)))

    tuned = tune_for_int8(network, digits, SETTINGS, Workspace(tmp_path), seed=0, resolution=RESOLUTION)
    before, after = (accuracy(network), as_int8(network)), (accuracy(tuned), as_int8(tuned))
    print(f"top-1 in float and as int8: {before[0]:.1%}, {before[1]:.1%}; tuned {after[0]:.1%}, {after[1]:.1%}")
    assert before[0] == pytest.approx(accuracy(trained), abs=0.003)
    assert before[0] > 0.95
    assert before[1] < before[0] - 0.1
    assert after[1] > before[1] + 0.1
    # What it says of its simulation is what the file does.
    rows = metrics(tmp_path)
    assert rows[0]["float_top1"] == pytest.approx(before[0], abs=0.003)
    assert rows[0]["int8_top1"] == pytest.approx(before[1], abs=0.03)
    assert rows[-1]["int8_top1"] == pytest.approx(after[1], abs=0.03)


def test_an_interrupted_tuning_ends_as_an_unbroken_one(trained: nn.Module, few_digits: Dataset, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 2})
    before = copy.deepcopy(trained.state_dict())
    unbroken = tune_for_int8(
        trained, few_digits, settings, Workspace(tmp_path / "whole"), seed=0, resolution=RESOLUTION
    )
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())

    interruptions, resumed = 0, None
    while resumed is None:
        workspace = Workspace(tmp_path / "broken", deadline=0.0)  # paused at the first moment that it can be
        try:
            resumed = tune_for_int8(trained, few_digits, settings, workspace, seed=0, resolution=RESOLUTION)
        except Paused:
            interruptions += 1
    assert interruptions == 6
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in unbroken.state_dict().items())
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")


def test_what_comes_back_is_a_folded_float_network(trained: nn.Module, few_digits: Dataset, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    tuned = tune_for_int8(trained, few_digits, settings, Workspace(tmp_path), seed=0, resolution=RESOLUTION)
    start = folded(trained)
    assert list(tuned.state_dict()) == list(start.state_dict())
    assert [type(module) for module in tuned.modules()] == [type(module) for module in start.modules()]
    assert not any(parametrize.is_parametrized(module) for module in tuned.modules())
    assert not tuned.training
    unmoved = [name for name, value in tuned.state_dict().items() if torch.equal(value, start.state_dict()[name])]
    assert not unmoved
    again = load_folded(small_mobile(), load_file(tmp_path / "weights.safetensors"))
    images = torch.randn(2, 3, RESOLUTION, RESOLUTION)
    assert torch.equal(again(images), tuned(images))


def test_the_checkpoint_of_another_tuning_is_not_believed(
    trained: nn.Module, few_digits: Dataset, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})

    def tuned(network: nn.Module, folder: str) -> nn.Module:
        return tune_for_int8(network, few_digits, settings, Workspace(tmp_path / folder), seed=0, resolution=RESOLUTION)

    tuned(trained, "used")
    torch.manual_seed(1)
    other = small_mobile().eval()
    fresh, after = tuned(other, "fresh"), tuned(other, "used")
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in fresh.state_dict().items())


def test_a_network_that_cannot_be_simulated_is_a_users_mistake(few_digits: Dataset, tmp_path: Path) -> None:
    class Fickle(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(UserError, match="cannot follow what Fickle computes"):
        tune_for_int8(Fickle(), few_digits, SETTINGS, Workspace(tmp_path), seed=0, resolution=RESOLUTION)
