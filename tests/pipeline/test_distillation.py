"""Distillation: what the loss is, and that the teacher only teaches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fairnas.models import build_any_network, parse_any_network
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.training.distillation import Teacher, open_teacher, teacher_source
from fairnas.pipeline.training.settings import DistillationConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")
TEACHER = "timm:test_efficientnet"


class Fixed(nn.Module):
    """Answers with given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def losses(share: float, temperature: float, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the labels, and the mixed one."""
    labels = torch.arange(len(student)) % student.shape[1]
    loss = functional.cross_entropy(student, labels)
    return loss, Teacher(Fixed(teacher), share, temperature).mixed(loss, student, torch.zeros(len(student), 3, 8, 8))


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=generator, dtype=torch.float32)
    return student.requires_grad_(), teacher


def test_a_share_of_nothing_is_the_labels_loss(logits: tuple[Tensor, Tensor]) -> None:
    loss, mixed = losses(0.0, 2.0, *logits)
    assert torch.equal(loss, mixed)


def test_a_teacher_that_answers_as_the_student_adds_nothing(logits: tuple[Tensor, Tensor]) -> None:
    student = logits[0]
    loss, mixed = losses(0.3, 3.0, student, student.detach().clone())
    torch.testing.assert_close(mixed, 0.7 * loss)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_whole_share_is_the_divergence_from_the_teacher(logits: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = logits
    _, mixed = losses(1.0, temperature, student, teacher)
    p, q = ((x / temperature).softmax(1) for x in (teacher, student))
    expected = temperature**2 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(mixed, expected)
    # Hinton et al., eq. 2: the gradient is that of the soft targets' cross-entropy, T (q - p) / N.
    (gradient,) = torch.autograd.grad(mixed, student)
    torch.testing.assert_close(gradient, temperature * (q - p) / len(student), rtol=1e-4, atol=1e-6)


def test_one_hot_answers_teach_what_labels_do(logits: tuple[Tensor, Tensor]) -> None:
    student = logits[0]
    labels = torch.arange(len(student)) % student.shape[1]
    certain = 200.0 * functional.one_hot(labels, student.shape[1]).float()
    loss, mixed = losses(1.0, 1.0, student, certain)
    torch.testing.assert_close(mixed, loss)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = build_any_network(parse_any_network(TEACHER), num_classes=5)
    save_file(network.state_dict(), tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


def settings(weights: Path | None, teacher: str = TEACHER) -> DistillationConfig:
    return DistillationConfig(teacher=teacher, weights=str(weights) if weights else None)


def test_the_teacher_is_frozen_in_evaluation_and_holds_its_weights(weights: Path) -> None:
    torch.manual_seed(2)
    teacher = open_teacher(settings(weights), 5, (32,), CPU)
    assert teacher is not None
    assert not any(module.training for module in teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    student = build_any_network(parse_any_network(TEACHER), num_classes=5)
    student.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    logits = student(images)
    teacher.mixed(functional.cross_entropy(logits, torch.arange(4)), logits, images).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())
    # It answered with the weights of the file.
    other = build_any_network(parse_any_network(TEACHER), num_classes=5).eval()
    other.load_state_dict(before)
    with torch.inference_mode():
        torch.testing.assert_close(teacher.network(images), other(images))


def test_mixed_precision_divides_in_full_precision(weights: Path) -> None:
    """Under autocast the student's logits are bfloat16; the loss and its gradient must not be."""
    teacher = open_teacher(settings(weights), 5, (32,), CPU)
    assert teacher is not None
    torch.manual_seed(0)
    student = build_any_network(parse_any_network(TEACHER), num_classes=5).train()
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    found: list[tuple[Tensor, Tensor]] = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = student(images)
            loss = teacher.mixed(functional.cross_entropy(logits, labels), logits, images)
        assert loss.dtype == torch.float32
        student.zero_grad()
        loss.backward()
        gradient = student.get_parameter("classifier.weight").grad
        assert gradient is not None
        assert gradient.dtype == torch.float32
        found.append((loss.detach(), gradient.clone()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.05, atol=0.01)
    similarity = functional.cosine_similarity(found[0][1].flatten(), found[1][1].flatten(), dim=0)
    assert similarity > 0.97


def test_a_module_that_is_teacher_and_student_stays_trainable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared_instance.py").write_text(
        "from torch import nn\nnetwork = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))\n"
    )
    student = build_any_network(parse_any_network("shared_instance:network"))
    teacher = open_teacher(settings(None, "shared_instance:network"), 5, (32,), CPU)
    assert teacher is not None
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert torch.equal(student.state_dict()["2.weight"], teacher.network.state_dict()["2.weight"])


@pytest.mark.parametrize(
    ("teacher", "classes", "message"),
    [
        ("fairnas_z", 5, "retrain.distillation.teacher: unknown network 'fairnas_z'"),
        ("no_such_module:network", 5, "cannot make a network of no_such_module:network: ModuleNotFoundError"),
        (TEACHER, 6, "does not hold the weights of this network: 2 have another shape"),
        ("fairnas_c", 5, "does not hold the weights of this network"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_in_one_line(
    weights: Path, teacher: str, classes: int, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        open_teacher(settings(weights, teacher), classes, (32,), CPU)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_random_weights_do_not_teach() -> None:
    with pytest.raises(UserError, match=r"fairnas_c with random weights teaches nothing: name its file with"):
        teacher_source(settings(None, "fairnas_c"))
    assert teacher_source(DistillationConfig()) is None


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seven_classes.py").write_text(
        "from torch import nn\nnetwork = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))\n"
    )
    with pytest.raises(UserError, match="seven_classes:network gives 7 logits, and the images have 5 classes"):
        open_teacher(settings(None, "seven_classes:network"), 5, (32,), CPU)
