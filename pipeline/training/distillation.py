"""Knowledge distillation: a teacher's answers as a second target (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...models import AnyNetwork, Architecture, UserModel, build_any_network, check_classifier, parse_any_network
from ..errors import UserError
from .settings import DistillationConfig
from .shared import to_device
from .weights import load_weights


@dataclass(frozen=True, slots=True)
class Teacher:
    """A frozen network whose answers a student imitates.

    Attributes:
        network: in evaluation mode, on the student's device.
        share: of the loss that the teacher decides.
        temperature: of the softmax of both.
    """

    network: nn.Module
    share: float
    temperature: float

    def mixed(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The labels' loss mixed with the divergence from the teacher, times temperature squared (sec. 2.1)."""
        with torch.inference_mode():
            target = functional.log_softmax(self.network(images).float() / self.temperature, dim=1)
        student = functional.log_softmax(logits.float() / self.temperature, dim=1)
        distance = functional.kl_div(student, target.clone(), reduction="batchmean", log_target=True)
        return (1 - self.share) * loss + self.share * self.temperature**2 * distance


def teacher_source(settings: DistillationConfig) -> AnyNetwork | None:
    """What the teacher is, or None.

    Raises:
        UserError: there is no such network, or it would have random weights.
    """
    if settings.teacher is None:
        return None
    try:
        source = parse_any_network(settings.teacher)
    except ValueError as error:
        raise UserError(f"retrain.distillation.teacher: {error}") from None
    if settings.weights is None and not isinstance(source, UserModel):
        raise UserError(
            f"retrain.distillation.teacher: {settings.teacher} with random weights teaches nothing: name its file with "
            "retrain.distillation.weights"
        )
    return source


def open_teacher(
    settings: DistillationConfig,
    num_classes: int,
    resolutions: Sequence[int],
    device: torch.device,
    state: Mapping[str, Tensor] | None = None,
) -> Teacher | None:
    """The teacher that the settings name, or None.

    Args:
        settings: which network, with which weights.
        num_classes: of the images.
        resolutions: that the student trains at.
        device: the student's.
        state: weights instead of those that the settings name.

    Raises:
        UserError: there is no such network, it does not classify these images, or its weights are of another one.
    """
    source = teacher_source(settings)
    if source is None:
        return None
    try:
        network = build_any_network(source, num_classes=num_classes)
        if not isinstance(source, Architecture):
            check_classifier(network, str(source), resolutions, num_classes)
    except ValueError as error:
        raise UserError(f"retrain.distillation.teacher: {error}") from None
    if state is not None:
        network.load_state_dict(state)
    elif settings.weights is not None:
        load_weights(network, settings.weights)
    network.requires_grad_(False).eval()
    return Teacher(to_device(network, device), settings.share, settings.temperature)
