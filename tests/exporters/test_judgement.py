"""Who passes the gate: numbers that are none, single logits, few images, answers that depend on the batch."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from fairnas.exporters import ExportError, Preprocessing, compare
from fairnas.exporters.deployable import Deployable, Exported, Logits
from fairnas.exporters.judgement import Judgement, Limits, judge_format, right_answers
from fairnas.exporters.paired import Loss
from fairnas.exporters.parity import require_parity
from fairnas.exporters.soundness import require_finite, require_sound
from torch import Tensor, nn

IMAGES = torch.linspace(-1, 1, 40 * 3 * 4 * 4).reshape(40, 3, 4, 4)


class Linear(nn.Module):
    """The logits are the mean of each image, times some factors."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None] * self.factors


def judged(
    network: nn.Module,
    run: Logits,
    form: str,
    hits: tuple[Tensor, Tensor] | None = None,
    *,
    random_weights: bool = False,
) -> Judgement:
    classes = tuple("abcdefghij"[: network(IMAGES[:1]).shape[1]])
    model = Deployable("net", network.eval(), Preprocessing(4, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), classes)

    def batches() -> Iterable[Tensor]:
        return IMAGES.split(16)

    exported = Exported(form, {"model.onnx": b""}, run)
    return judge_format(
        model, exported, batches, hits, Limits(1e-4, 0.01), one_by_one=32, random_weights=random_weights
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_never_agrees(wrong: float) -> None:
    network = Linear(wrong, 1.0)
    parity = compare(network, network, [IMAGES])
    assert parity.top1_agreement == 0
    with pytest.raises(ExportError, match="no numbers"):
        require_parity(parity, 1e-4)
    for form in ("onnx", "onnx-fp16"):
        reason = judged(network, network, form).reason
        assert reason is not None
        assert "no numbers" in reason


def test_logits_of_zero_are_numbers() -> None:
    zero = Linear(0.0, 0.0, 0.0)
    assert judged(zero, zero, "onnx").reason is None
    assert compare(zero, zero, [IMAGES]).max_relative_difference == 0
    reason = judged(zero, lambda images: zero(images) + 1e-3, "onnx").reason
    assert reason is not None
    assert "1e-3" in reason or "0.001" in reason


def test_answers_that_depend_on_the_batch_are_seen_one_image_at_a_time() -> None:
    network = Linear(1.0, -1.0)

    def whole_batch_decides(images: Tensor) -> Tensor:
        return network(images) if len(images) > 1 else network(images) + torch.tensor([0.0, 0.5])

    reason = judged(network, whole_batch_decides, "onnx").reason
    assert reason is not None
    assert "one at a time" in reason


def test_answers_of_another_shape_are_a_reason() -> None:
    network = Linear(1.0, 2.0)
    with pytest.raises(ExportError, match=r"\[16, 1\] numbers, PyTorch with \[16, 2\]"):
        judged(network, lambda images: network(images)[:, :1], "onnx")


def test_one_logit_is_judged_by_its_value() -> None:
    network = Linear(1.0)
    assert judged(network, lambda images: network(images) * 1.05, "onnx-int8").reason is None  # 0.25% of the variance
    off = judged(network, lambda images: network(images) * 1.2, "onnx-int8").reason
    assert off is not None
    assert "4.00% of its variance" in off or "loses 4." in off
    assert judged(network, lambda images: torch.zeros(len(images), 1), "onnx-int8").reason is not None


def test_of_random_weights_it_says_that_the_loss_is_not_judged() -> None:
    network = Linear(1.0, -1.0)
    found = judged(network, lambda images: -network(images), "onnx-int8", random_weights=True)
    assert (found.reason, found.judged_by) == (None, "loss not judged: random weights")
    broken = judged(network, lambda images: network(images) / 0, "onnx-int8", random_weights=True)
    assert broken.reason is not None
    assert broken.judged_by is None


def test_one_logit_of_two_classes_is_judged_by_its_sign() -> None:
    network = Linear(1.0)
    labels = (IMAGES.mean((1, 2, 3)) > 0).long()
    batches = [(IMAGES, labels)]
    before = right_answers(network, batches)
    assert before.all()
    half = right_answers(lambda images: -network(images), batches)
    assert not half.any()
    assert judged(network, network, "onnx-int8", (before, before)).reason is None
    reason = judged(network, network, "onnx-int8", (before, half)).reason
    assert reason is not None
    assert "by 40 of 40 images" in reason


@pytest.mark.parametrize(
    ("lost", "gained", "images", "breaks"),
    [
        (1, 0, 60, False),  # one image is 1.67 points
        (2, 0, 60, False),
        (3, 0, 60, True),
        (3, 0, 10, True),  # few images excuse no collapse
        (30, 30, 60, False),
        (0, 0, 10, False),
        (47, 0, 3925, True),  # 1.20 points of many images: these decide by themselves
        (39, 0, 3925, False),
        (1, 0, 4, False),
        (4, 0, 4, True),
    ],
)
def test_few_images_decide_by_an_interval(lost: int, gained: int, images: int, breaks: bool) -> None:
    assert Loss(lost, gained, images).breaks(0.01) is breaks


def test_a_loss_says_what_the_images_can_tell() -> None:
    assert "by 2 of 60 images, 3.33 points" in Loss(2, 0, 60).in_words(0.01)
    assert "too few images to say that the limit is broken" in Loss(2, 0, 60).in_words(0.01)
    assert "too few images to say that it is kept" in Loss(0, 0, 10).in_words(0.01)
    assert "too few" not in Loss(2, 1, 5000).in_words(0.01)
    loss = Loss(7, 3, 200)
    assert loss.least < loss.share < loss.most
    assert Loss(1, 0, 60).breaks(0.0)  # who allows nothing allows no image


def test_an_interval_holds_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(2000, 200, generator=generator)
    lost, gained = (drawn < 0.05).sum(1), (drawn > 0.97).sum(1)
    held = [Loss(int(a), int(b), 200).most >= 0.02 for a, b in zip(lost, gained, strict=True)]
    assert 0.87 <= sum(held) / len(held) <= 0.94


def test_weights_that_are_no_numbers_are_named() -> None:
    convolution, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    network = nn.Sequential(convolution, norm)
    network.register_buffer("mask", torch.tensor([-float("inf"), 0.0]))  # as attention has
    require_finite(network)
    convolution.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"3 of 12 numbers of its tensor '0.weight' are NaN"):
        require_finite(network)
    convolution.weight.data[0] = 0
    norm.register_buffer("running_var", torch.tensor([float("inf"), 1, 1, 1]))
    with pytest.raises(ValueError, match=r"'1\.running_var' are infinite"):
        require_finite(network)


def test_answers_that_are_random_or_no_numbers_are_refused() -> None:
    require_sound(Linear(0.0, 0.0), IMAGES, 1e-4)
    with pytest.raises(ValueError, match="no numbers"):
        require_sound(Linear(float("inf"), 1.0), IMAGES, 1e-4)

    class Drops(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.dropout(images.flatten(1), 0.5, training=True)

    with pytest.raises(ValueError, match="dropout that is always on"):
        require_sound(Drops(), IMAGES, 1e-4)
