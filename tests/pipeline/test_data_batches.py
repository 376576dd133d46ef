"""Batches: reproducible, resumable, really augmented, and preprocessed as stated."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairnas.pipeline.data import Augment, FileImages, ImageSet, MemoryImages, eval_batches, train_batches
from fairnas.pipeline.data.batches import batches_per_epoch
from fairnas.pipeline.data.images import ImageFormat
from PIL import Image
from torch import Tensor

COUNT = 37
AUGMENTS = {
    "none": Augment(level="none"),
    "flip": Augment(level="flip"),
    "crop": Augment(level="crop", scale=(0.3, 1.0)),
    "auto": Augment(level="crop", auto="rand-m9-mstd0.5"),
}


def identity(side: int) -> ImageFormat:
    return ImageFormat(side, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def noise(count: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, side, side, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def memory_set() -> MemoryImages:
    return MemoryImages(noise(COUNT, 24), torch.arange(COUNT), identity(24))


@pytest.fixture(scope="module")
def file_set(tmp_path_factory: pytest.TempPathFactory) -> FileImages:
    folder = tmp_path_factory.mktemp("images")
    paths = [str(folder / f"{index}.png") for index in range(COUNT)]
    for path, pixels in zip(paths, noise(COUNT, 24), strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return FileImages(paths, torch.arange(COUNT), identity(24))


@pytest.fixture(params=["memory", "files"])
def images(request: pytest.FixtureRequest, memory_set: MemoryImages, file_set: FileImages) -> ImageSet:
    return memory_set if request.param == "memory" else file_set


def epoch_of(
    images: ImageSet, augment: Augment, *, epoch: int = 0, seed: int = 1, start: int = 0, workers: int = 0
) -> list[tuple[Tensor, Tensor]]:
    batches = train_batches(
        images, batch_size=8, resolution=16, augment=augment, seed=seed, epoch=epoch, start=start, workers=workers
    )
    return list(batches)


def same(ours: list[tuple[Tensor, Tensor]], theirs: list[tuple[Tensor, Tensor]]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("name", AUGMENTS)
def test_resumed_batches_are_those_of_an_unbroken_epoch(images: ImageSet, name: str) -> None:
    whole = epoch_of(images, AUGMENTS[name])
    torch.rand(100)  # whatever else draws random numbers must not matter
    for start in range(len(whole) + 1):
        assert same(epoch_of(images, AUGMENTS[name], start=start), whole[start:])


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("count", [2, 3])
def test_parts_are_together_the_batches_of_an_undivided_epoch(images: ImageSet, name: str, count: int) -> None:
    settings: dict[str, Any] = {"batch_size": 8, "resolution": 16, "seed": 1, "epoch": 2, "start": 1, "workers": 0}
    whole = list(train_batches(images, augment=AUGMENTS[name], **settings))
    parts = [list(train_batches(images, augment=AUGMENTS[name], part=(i, count), **settings)) for i in range(count)]
    assert {len(labels) for part in parts for _, labels in part} == ({4} if count == 2 else {2, 3})
    joined = [
        (torch.cat([pixels for pixels, _ in batch]), torch.cat([labels for _, labels in batch]))
        for batch in zip(*parts, strict=True)
    ]
    assert same(joined, whole)


def test_a_part_of_fewer_than_two_images_is_refused(memory_set: MemoryImages) -> None:
    settings: dict[str, Any] = {"batch_size": 8, "resolution": 16, "augment": AUGMENTS["none"], "seed": 0, "epoch": 0}
    with pytest.raises(ValueError, match="batches of 8, each in 5 parts given"):
        next(train_batches(memory_set, part=(0, 5), **settings))


@pytest.mark.parametrize("name", AUGMENTS)
def test_global_generators_are_left_alone(images: ImageSet, name: str) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    def reseed() -> None:
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)

    reseed()
    expected = draw()
    reseed()
    epoch_of(images, AUGMENTS[name])
    assert draw() == expected


def test_worker_processes_change_nothing(file_set: FileImages) -> None:
    assert same(epoch_of(file_set, AUGMENTS["auto"], workers=2), epoch_of(file_set, AUGMENTS["auto"]))


def test_epochs_and_seeds_differ(images: ImageSet) -> None:
    base = epoch_of(images, AUGMENTS["crop"])
    for other in (epoch_of(images, AUGMENTS["crop"], epoch=1), epoch_of(images, AUGMENTS["crop"], seed=2)):
        assert not any(torch.equal(a[1], b[1]) for a, b in zip(base, other, strict=True))


@pytest.mark.parametrize(("name", "least"), [("flip", 2), ("crop", 12), ("auto", 12)])
def test_augmentation_differs_between_epochs(images: ImageSet, name: str, least: int) -> None:
    views: dict[int, set[bytes]] = {}
    for epoch in range(12):
        for batch, labels in epoch_of(images, AUGMENTS[name], epoch=epoch):
            for view, label in zip(batch, labels.tolist(), strict=True):
                views.setdefault(label, set()).add(view.numpy().tobytes())
    if name == "flip":
        assert {len(seen) for seen in views.values()} == {least}
    else:  # images that were left out of some epochs have fewer views
        assert max(len(seen) for seen in views.values()) == least


def test_no_augmentation_gives_every_image_alike(images: ImageSet) -> None:
    first, second = (
        {
            int(label): view
            for batch, labels in epoch_of(images, AUGMENTS["none"], epoch=epoch)
            for view, label in zip(batch, labels, strict=True)
        }
        for epoch in (0, 1)
    )
    for label in first.keys() & second.keys():
        assert torch.equal(first[label], second[label])


def test_mirroring_and_its_probability() -> None:
    images = MemoryImages(noise(2000, 8), torch.arange(2000), identity(8))
    plain = images.batch(torch.arange(2000)).float() / 255
    for probability in (0.0, 0.5, 1.0):
        settings: dict[str, Any] = {"batch_size": 2000, "resolution": 8, "seed": 0, "epoch": 0}
        ((batch, labels),) = train_batches(images, augment=Augment(level="flip", flip=probability), **settings)
        mirrored = torch.isclose(batch, plain[labels].flip(-1)).flatten(1).all(1)
        upright = torch.isclose(batch, plain[labels]).flatten(1).all(1)
        assert (mirrored | upright).all()
        assert mirrored.float().mean().item() == pytest.approx(probability, abs=0.05)


def test_random_crops_cover_what_they_should() -> None:
    """On an image whose pixels hold their own coordinates, the range of a crop tells its box."""
    side, count = 200, 3000
    ramp = torch.arange(side, dtype=torch.uint8)
    pixels = torch.stack([ramp.view(-1, 1).expand(side, side), ramp.expand(side, side), torch.zeros(side, side).byte()])
    images = MemoryImages(pixels.expand(count, -1, -1, -1), torch.zeros(count).long(), identity(side))
    augment = Augment(level="crop", scale=(0.25, 0.5), flip=0.0)
    ((batch, _),) = train_batches(images, batch_size=count, resolution=50, augment=augment, seed=0, epoch=0)
    rows, columns = batch[:, 0, :, 0] * 255, batch[:, 1, 0, :] * 255
    tall, wide = ((x[:, -1] - x[:, 0]) * 50 / 49 for x in (rows, columns))
    area = tall * wide / side**2
    assert 0.24 < area.min() < 0.27
    assert 0.48 < area.max() < 0.52
    assert area.mean().item() == pytest.approx(0.375, abs=0.01)
    assert 0.73 < (wide / tall).min() < 0.78
    assert 1.28 < (wide / tall).max() < 1.37
    centre = rows.mean(1)
    assert centre.mean().item() == pytest.approx(side / 2, abs=2)
    assert rows.min() < 5
    assert rows.max() > side - 6


def test_training_batches_are_full_and_never_tiny(memory_set: MemoryImages) -> None:
    sizes = [len(labels) for _, labels in epoch_of(memory_set, AUGMENTS["none"])]
    assert sizes == [8] * 4
    assert batches_per_epoch(COUNT, 8) == 4
    seen = Counter(label for _, labels in epoch_of(memory_set, AUGMENTS["none"]) for label in labels.tolist())
    assert max(seen.values()) == 1
    few = memory_set.subset([3, 4, 5])
    assert [len(labels) for _, labels in epoch_of(few, AUGMENTS["crop"])] == [3]
    assert batches_per_epoch(3, 8) == 1
    with pytest.raises(ValueError, match="batch norm needs 2 images"):
        epoch_of(memory_set.subset([3]), AUGMENTS["crop"])


def test_batches_are_normalised_and_channels_last(memory_set: MemoryImages) -> None:
    image_format = ImageFormat(24, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    images = MemoryImages(noise(COUNT, 24), torch.arange(COUNT), image_format)
    ((batch, labels),) = eval_batches(images, batch_size=100, resolution=24)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (image_format.mean, image_format.std))
    torch.testing.assert_close(batch, (noise(COUNT, 24) / 255 - mean) / std)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch.dtype == torch.float32
    assert labels.tolist() == list(range(COUNT))
    for augment in ("none", "flip", "crop", "auto"):
        batch, _ = epoch_of(images, AUGMENTS[augment])[0]
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.shape == (8, 3, 16, 16)


def test_evaluation_sees_all_images_in_order(images: ImageSet) -> None:
    batches = list(eval_batches(images, batch_size=8, resolution=16, workers=0))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 5]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(COUNT))
    assert same(list(eval_batches(images, batch_size=8, resolution=16, workers=0)), batches)


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_large_images_are_evaluated_on_their_centre(kind: str, tmp_path: Path) -> None:
    side = 256
    pixels = torch.zeros(side, side, 3, dtype=torch.uint8)
    margin = side // 16  # 224 of 256 pixels: 16 on every side are not looked at
    pixels[margin:-margin, margin:-margin] = 255
    if kind == "memory":
        images: ImageSet = MemoryImages(pixels.permute(2, 0, 1)[None], torch.zeros(1).long(), identity(side))
    else:
        Image.fromarray(pixels.numpy()).save(tmp_path / "image.png")
        images = FileImages([str(tmp_path / "image.png")], torch.zeros(1).long(), identity(side))
    ((batch, _),) = eval_batches(images, batch_size=4, resolution=224, workers=0)
    assert batch.shape == (1, 3, 224, 224)
    assert batch.min() == 1
    ((batch, _),) = eval_batches(images, batch_size=4, resolution=112, workers=0)
    assert batch[..., 1:-1, 1:-1].min() == 1
    images.format = identity(96)  # small images are looked at as a whole
    ((batch, _),) = eval_batches(images, batch_size=4, resolution=224, workers=0)
    assert batch[..., 0, 0].max() == 0
