"""A fresh export verifies, whatever habits its network has: what counts is what the file itself holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairnas.exporters import Preprocessing, compare, export_onnx, onnx_logits
from fairnas.exporters.checks.model_facts import model_facts, probe_images
from fairnas.exporters.pages.formatting import millions
from fairnas.exporters.passport.folder import write_export_folder
from fairnas.exporters.passport.page import render_passport
from fairnas.exporters.passport.passport import Passport, read_passport
from fairnas.exporters.passport.records import FormatRecord, ParityRecord
from fairnas.exporters.verify import failures, require_sound, verify
from torch import Tensor, nn
from torch.nn import functional

from . import small_export as small

PREPROCESSING = Preprocessing(16, 0.9, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CLASSES = ("a", "b", "c", "d", "e")


class Plain(nn.Module):
    """One convolution and a classifier; the others below are this one with one habit of real networks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(functional.relu(self.stem(images)).mean((2, 3)))


class Auxiliary(Plain):
    """A second head, for training, with most of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Linear(8 * 8 * 8, 50)


class FixedFilters(Plain):
    """Filters that are not trained, larger than all that is."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("blur", torch.rand(8, 1, 15, 15))

    def forward(self, images: Tensor) -> Tensor:
        blurred = functional.conv2d(self.stem(images), self.get_buffer("blur"), padding=7, groups=8)
        return self.head(blurred.mean((2, 3)))


class StandardisedWeights(Plain):
    """As NFNet's: the weights that compute are made of those that are trained."""

    def forward(self, images: Tensor) -> Tensor:
        weight = self.stem.weight
        weight = (weight - weight.mean((1, 2, 3), True)) / (weight.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return self.head(functional.relu(functional.conv2d(images, weight, self.stem.bias, 2, 1)).mean((2, 3)))


class PerImage(Plain):
    """Divides by the image's own deviation, which a black image has not."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images - images.mean((1, 2, 3), True)) / images.std((1, 2, 3), keepdim=True))


class Shared(Plain):
    """One convolution, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for _ in range(3):
            features = functional.relu(self.again(features))
        return self.head(features.mean((2, 3)))


class ZeroHead(Plain):
    """Answers nothing but zeros until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class NoNumbers(Plain):
    """Training diverged."""

    def __init__(self) -> None:
        super().__init__()
        self.stem.weight.data[0, 0, 0, 0] = float("nan")


def exported(folder: Path, network: nn.Module, **record: Any) -> Passport:
    network.eval()
    content = export_onnx(network, PREPROCESSING, CLASSES, 18, "mine")
    (folder / "model.onnx").write_bytes(content)
    parity = ParityRecord.of(compare(network, onnx_logits(content), [torch.randn(2, 3, 16, 16)]))
    described = {"format": "onnx", "status": "written", "files": [small.exported_file("model.onnx", content)]}
    passport = Passport(
        name="mine",
        architecture="mine:make",
        resolution=16,
        num_classes=len(CLASSES),
        classes=list(CLASSES),
        params=sum(parameter.numel() for parameter in network.parameters()),
        madds=1000,
        preprocessing=PREPROCESSING,
        formats=[FormatRecord.model_validate({**described, "parity": parity, **record})],
        lineage={},
    )
    return write_export_folder(folder, passport)


@pytest.mark.parametrize(
    "kind",
    [Plain, Auxiliary, FixedFilters, StandardisedWeights, PerImage, Shared, ZeroHead],
    ids=lambda kind: kind.__name__,
)
def test_a_fresh_export_verifies(tmp_path: Path, kind: type[nn.Module]) -> None:
    passport = exported(tmp_path, kind())
    findings = verify(tmp_path)
    require_sound(findings)
    made = {(finding.file, finding.what) for finding in findings if finding.outcome == "ok"}
    assert made >= {("model.onnx", what) for what in ("parameters", "run", "answer")}
    holds = passport.formats[0].holds
    assert holds is not None
    assert holds.answer is not None
    assert holds.answer.finite
    assert holds.network_params == passport.params


def test_what_the_file_holds_is_counted_in_the_file(tmp_path: Path) -> None:
    holds = exported(tmp_path, Auxiliary()).formats[0].holds
    assert holds is not None
    assert (holds.numbers, holds.tensors) == (8 * 27 + 8 + 8 * 5 + 5, 4)
    assert holds.network_params == holds.numbers + 512 * 50 + 50
    assert holds.madds == 8 * 8 * 8 * 27 + 8 * 5


def test_weights_that_are_no_numbers_fail_unless_the_passport_says_so(tmp_path: Path) -> None:
    exported(tmp_path, NoNumbers())
    assert failures(verify(tmp_path)) == {"model.onnx"}
    exported(tmp_path, NoNumbers(), status="forced", reason="its answers are no numbers")
    findings = verify(tmp_path)
    require_sound(findings)
    assert [finding.what for finding in findings if finding.outcome == "skipped" and finding.file == "model.onnx"] == [
        "run"
    ]


def test_a_passport_without_these_records_verifies_as_before(tmp_path: Path) -> None:
    """As an earlier version wrote it: and its page, which has no word of them either."""
    exported(tmp_path, Plain())
    content = json.loads((tmp_path / "passport.json").read_text())
    for field in ("probe", "page", "signed_at"):
        del content[field]
    del content["formats"][0]["holds"]
    text = json.dumps(content, indent=1) + "\n"
    (tmp_path / "passport.json").write_text(text)
    digest = small.exported_file("x", text.encode()).sha256
    page = render_passport(read_passport(text), digest)
    assert "the file holds" not in page
    old = page.replace("</style>", "p { margin: 1px }</style>").replace("Made by fairnas", "Made with fairnas")
    for written, outcome in ((page, "ok"), (old, "skipped")):
        (tmp_path / "passport.html").write_text(written)
        sums = {name: small.exported_file(name, (tmp_path / name).read_bytes()).sha256 for name in _NAMES}
        (tmp_path / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in _NAMES))
        findings = verify(tmp_path)
        require_sound(findings)
        assert [f.outcome for f in findings if (f.file, f.what) == ("passport.html", "passport")] == [outcome]


_NAMES = ("model.onnx", "passport.html", "passport.json")


def test_figures_on_an_old_page_must_be_the_passports(tmp_path: Path) -> None:
    passport = exported(tmp_path, Plain())
    content = json.loads((tmp_path / "passport.json").read_text())
    content["page"] = "0" * 64  # of another version
    text = json.dumps(content, indent=1) + "\n"
    (tmp_path / "passport.json").write_text(text)
    page = render_passport(read_passport(text), small.exported_file("x", text.encode()).sha256)
    forged = {
        millions(passport.params): millions(10 * passport.params),
        "</main>": "<img src=x></main>",
        "Multiply-adds": "Top-1 99.9%, multiply-adds",
    }
    for old, new in forged.items():
        assert old in page
        (tmp_path / "passport.html").write_text(page.replace(old, new, 1))
        sums = {name: small.exported_file(name, (tmp_path / name).read_bytes()).sha256 for name in _NAMES}
        (tmp_path / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in _NAMES))
        assert failures(verify(tmp_path)) == {"passport.html"}


def test_the_probe_is_a_picture_and_always_the_same() -> None:
    images = probe_images(24, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (images.shape, images.dtype) == ((2, 3, 24, 24), np.float32)
    assert 0 <= images.min() < 0.2 < 0.8 < images.max() <= 1
    assert images.std(axis=(1, 2, 3)).min() > 0.1
    assert not np.array_equal(images[0], images[1])
    neighbours = np.abs(np.diff(images, axis=3)).mean()
    assert neighbours < np.abs(images - np.roll(images, 11, axis=3)).mean() / 2  # smooth, as pictures are
    shifted = probe_images(24, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    np.testing.assert_allclose(shifted, (images - 0.5) / 0.25, atol=1e-6)


def test_a_model_that_takes_a_fixed_number_of_images_is_asked_about_so_many(tmp_path: Path) -> None:
    import onnx

    content = export_onnx(Plain().eval(), PREPROCESSING, CLASSES, 18, "mine")
    model = onnx.load_from_string(content)
    images = probe_images(16, PREPROCESSING.mean, PREPROCESSING.std)
    free = model_facts(content, ".onnx", images)["answer"]
    for batch, answers in ((1, 2), (3, 3)):
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
        fixed = model_facts(model.SerializeToString(), ".onnx", images)["answer"]
        assert fixed["shape"] == [answers, len(CLASSES)]
        np.testing.assert_allclose(fixed["values"][:2], free["values"], rtol=1e-4)


def test_a_passport_says_with_what_each_stage_was_computed() -> None:
    content, _ = small.small_onnx()
    parity = ParityRecord(
        images=4, max_abs_difference=0, mean_abs_difference=0, max_relative_difference=0, top1_agreement=1
    )
    passport = small.small_passport(content, parity)
    made = {
        "retrain/pick-1": {"commit": "abc123", "versions": {"torch": "2.13.0"}, "machine": {"cpu": "A <b>Xeon</b>"}},
        "export/pick-1": {"commit": "def456", "versions": {"torch": "2.14.0"}, "machine": {"cpu": "Laptop"}},
    }
    page = render_passport(passport.model_copy(update={"lineage": {**passport.lineage, "made": made}}))
    for text in ("retrain/pick-1", "abc123", "torch 2.13.0", "A &lt;b&gt;Xeon", "torch 2.14.0", "cpu Laptop"):
        assert text in page
    assert "Each stage was computed" in page
    assert "Each stage was computed" not in render_passport(passport)
    for strange in (3, [], {"retrain": 3}, {"retrain": {"machine": [1, {"a": 2}]}}, {}):
        render_passport(passport.model_copy(update={"lineage": {"made": strange}}))
