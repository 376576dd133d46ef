"""Scoring paths: the supernet stays as it is, and a score depends on nothing but the path."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import cast

import numpy as np
import pytest
import torch
from fairnas.models import AnySupernet, Architecture, MacroSupernet, any_space, build_supernet
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.config import Config
from fairnas.pipeline.data import Dataset, ImageSet, eval_batches, load_dataset
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.supernet.scoring import PathScorer, calibration_images, mixed_order
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

MODES = ("none", "recalibrate", "batch")
SPACES = ("b", "macro", "nasbench201")
HELDOUT, BATCH, CALIBRATION = 20, 8, 12  # images come in batches of 8, 8 and 4, those for calibration of 8 and 4

ONE_WAVE, MANY_WAVES = 1.0, 1e-6  # GiB: all images at once, or a batch at a time
CHOICES = st.tuples(*[st.integers(0, 2)] * 8)  # of a path in space macro


@cache
def digits() -> Dataset:
    dataset = load_dataset("digits", heldout=0.2, seed=0)
    return replace(dataset, heldout=dataset.heldout.subset(torch.arange(HELDOUT)))


def resolution(space: str) -> int:
    return 32 if space == "b" else 16


@cache
@torch.enable_grad()  # whoever asks for it first
def supernet(space: str) -> AnySupernet:
    """Trained on random paths for a moment, so that it tells digits apart and its statistics mix paths."""
    torch.manual_seed(0)
    network = build_supernet(any_space(space).scaled(0.25), num_classes=10).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    rng = np.random.default_rng(0)
    images = eval_batches(digits().train.subset(torch.arange(320)), batch_size=16, resolution=resolution(space))
    for batch, labels in images:
        optimizer.zero_grad()
        functional.cross_entropy(network(batch, network.space.sample(rng).choices), labels).backward()
        optimizer.step()
    return network


def config(bn: str, space: str = "b", memory_gib: float = ONE_WAVE) -> Config:
    scoring = {
        "bn": bn,
        "batch_size": BATCH,
        "calibration_images": CALIBRATION,
        "memory_gib": memory_gib,
    }
    size = f"proxy.resolution={resolution(space)}"
    return load_config("tiny", [f"space={space}", size, *(f"scoring.{key}={value}" for key, value in scoring.items())])


@cache
def scorer(bn: str, space: str, memory_gib: float) -> PathScorer:
    return PathScorer(supernet(space), digits(), config(bn, space, memory_gib))


def paths(space: str, count: int, choices: int = 2) -> list[Architecture]:
    """Random paths of the first few choices, so that many begin alike."""
    rng = np.random.default_rng(0)
    return [
        any_space(space).architecture(rng.integers(choices, size=len(any_space(space).layers)).tolist())
        for _ in range(count)
    ]


@cache
@torch.no_grad()
def logits_of_one(bn: str, architecture: Architecture) -> Tensor:
    """What a path makes of the held-out images `[images, 10]`, without any of what makes scoring fast."""
    network = copy.deepcopy(supernet(architecture.space)).to(memory_format=torch.channels_last)  # pyright: ignore
    if bn == "recalibrate":
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
                norm.momentum = None
        network.train()
        for images in batches(calibration(), architecture.space):
            network(images, architecture.choices)
    network.train(bn == "batch")
    order = mixed_order(HELDOUT)
    scored = batches(digits().heldout.subset(order), architecture.space)
    return torch.cat([network(images, architecture.choices) for images in scored])[order.argsort()]


def batches(images: ImageSet, space: str) -> Iterator[Tensor]:
    return (batch for batch, _ in eval_batches(images, batch_size=BATCH, resolution=resolution(space)))


def calibration() -> ImageSet:
    return calibration_images(digits().train, CALIBRATION, BATCH)


@pytest.mark.parametrize("memory_gib", [ONE_WAVE, MANY_WAVES])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("bn", MODES)
def test_paths_scored_together_predict_what_each_does_alone(bn: str, space: str, memory_gib: float) -> None:
    """Classes, accuracies, and the logits to the bit: every batch of them is heard at the classifier."""
    architectures = paths(space, 6, choices=5 if space == "nasbench201" else 2)
    alone = [logits_of_one(bn, architecture) for architecture in architectures]
    together = scorer(bn, space, memory_gib)
    heard: list[Tensor] = []
    (classifier,) = (module for module in together._supernet.modules() if isinstance(module, nn.Linear))
    listener = classifier.register_forward_hook(lambda _, __, logits: heard.append(logits.clone()))
    predicted = dict(together.predictions(architectures))
    listener.remove()
    order, labels = mixed_order(HELDOUT), digits().heldout.labels
    for position, logits in enumerate(alone):
        assert torch.equal(predicted[position], logits.argmax(1))
        assert all(any(torch.equal(batch, other) for other in heard) for batch in logits[order].split(BATCH))
    scores = together.score_all(architectures)
    assert scores == [float((logits.argmax(1) == labels).double().mean()) for logits in alone]


@settings(max_examples=20)
@given(st.lists(CHOICES, max_size=12), st.sampled_from(MODES), st.sampled_from([ONE_WAVE, MANY_WAVES]))
def test_any_set_of_paths_scores_as_its_members(chosen: list[tuple[int, ...]], bn: str, memory_gib: float) -> None:
    """Whatever was scored before, in any order, with any repetitions; none at all too."""
    architectures = [any_space("macro").architecture(choices) for choices in chosen]
    told: list[float] = []
    scores = scorer(bn, "macro", memory_gib).score_all(architectures, told.append)
    labels = digits().heldout.labels
    assert scores == [float((logits_of_one(bn, a).argmax(1) == labels).double().mean()) for a in architectures]
    assert Counter(told) == Counter(scores)


@settings(max_examples=20)
@given(st.lists(CHOICES, min_size=1, max_size=40))
def test_each_block_runs_once_for_each_beginning_of_a_path(chosen: list[tuple[int, ...]]) -> None:
    runs = Counter[int]()
    listened = scorer("none", "macro", ONE_WAVE)
    layers = cast(MacroSupernet, listened._supernet).layers
    listeners = [
        block.register_forward_hook(lambda *_, layer=layer: runs.update([layer]))
        for layer, candidates in enumerate(layers)
        for block in cast(nn.ModuleList, candidates)
    ]
    listened.score_all([any_space("macro").architecture(choices) for choices in chosen])
    for listener in listeners:
        listener.remove()
    images_come_in = -(-HELDOUT // BATCH)
    assert runs == {
        layer: images_come_in * len({choices[: layer + 1] for choices in chosen}) for layer in range(len(layers))
    }


@pytest.mark.parametrize("memory_gib", [ONE_WAVE, MANY_WAVES])
@pytest.mark.parametrize("bn", MODES)
def test_scoring_leaves_the_supernet_alone(bn: str, memory_gib: float) -> None:
    before = copy.deepcopy(supernet("b").state_dict())
    PathScorer(supernet("b"), digits(), config(bn, "b", memory_gib)).score_all(paths("b", 2))
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet("b").state_dict().items())


@pytest.mark.parametrize("bn", MODES)
def test_after_an_interruption_scores_are_the_same(bn: str) -> None:
    architectures = paths("macro", 6)
    for memory_gib in (ONE_WAVE, MANY_WAVES):
        interrupted = PathScorer(supernet("macro"), digits(), config(bn, "macro", memory_gib))

        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted.score_all(architectures, interrupt)
        assert interrupted.score_all(architectures) == scorer(bn, "macro", ONE_WAVE).score_all(architectures)


def test_more_paths_than_one_group_score_alike_in_many_waves() -> None:
    architectures = paths("macro", 80, choices=3)
    expected = scorer("recalibrate", "macro", ONE_WAVE).score_all(architectures)
    assert scorer("recalibrate", "macro", MANY_WAVES).score_all(architectures) == expected


def test_recalibrated_statistics_are_those_of_training_images() -> None:
    """The first normalisation sees the calibration images' stem features, and nothing of its earlier statistics."""
    recalibrated = PathScorer(supernet("b"), digits(), config("recalibrate"))
    recalibrated.score(paths("b", 1)[0])
    convolution = supernet("b").get_submodule("stem.0")
    with torch.no_grad():
        means = [convolution(images).mean((0, 2, 3)) for images in batches(calibration(), "b")]
    found, inherited = (
        network.get_submodule("stem.1").get_buffer("running_mean")
        for network in (recalibrated._supernet, supernet("b"))
    )
    torch.testing.assert_close(found, torch.stack(means).mean(0), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found, inherited, atol=1e-2)


def test_calibration_batches_mix_the_classes_of_an_ordered_set() -> None:
    train = digits().train
    ordered = train.subset(torch.argsort(train.labels))
    chosen = calibration_images(ordered, 200, 50)
    assert len(set(chosen.labels.tolist())) == 10
    assert all(len(set(part.tolist())) >= 8 for part in chosen.labels.split(50))


def test_scored_batches_mix_the_classes_of_an_ordered_set() -> None:
    """In mode `batch` an image's score depends on those beside it: here on one or two classes, had they kept order."""
    heldout = load_dataset("digits", heldout=0.2, seed=0).heldout
    ordered = heldout.subset(torch.argsort(heldout.labels)[:100])
    listened = PathScorer(supernet("macro"), replace(digits(), heldout=ordered), config("batch", "macro"))
    heard: list[Tensor] = []
    cast(MacroSupernet, listened._supernet).stem.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    listened.score(paths("macro", 1)[0])
    images = torch.cat(list(batches(ordered, "macro")))
    places = [[int((images == image).flatten(1).all(1).nonzero()[0]) for image in batch] for batch in heard]
    assert sorted(place for batch in places for place in batch) == list(range(100)), "each image once"
    assert min(len(ordered.labels[place].unique()) for place in places if len(place) == BATCH) > 2


def test_a_lone_image_is_refused_where_batches_are_their_own_statistics() -> None:
    one_more = replace(digits(), heldout=digits().heldout.subset(torch.arange(BATCH + 1)))
    with pytest.raises(UserError, match="batch_size=8 leaves one of 9 held-out images alone"):
        PathScorer(supernet("b"), one_more, config("batch"))
