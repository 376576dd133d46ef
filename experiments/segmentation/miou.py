"""Intersection over union: which share of what is, or is said to be, a class is both."""

from __future__ import annotations

import torch
from torch import Tensor

from .scenes import IGNORED


class Confusion:
    """Counts of pixels by true class (rows) and answer (columns), ignored ones left out."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def add(self, answers: Tensor, labels: Tensor) -> None:
        """Count pixels: class indices of equal shape."""
        counted = labels != IGNORED
        classes = len(self.counts)
        pairs = classes * labels[counted] + answers[counted]
        self.counts += torch.bincount(pairs.flatten().cpu(), minlength=classes**2).view(classes, classes)

    def class_iou(self) -> list[float | None]:
        """Intersection over union of each class; None for one that neither is there nor was ever said to be."""
        right = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - right
        return [int(r) / int(u) if u else None for r, u in zip(right, union, strict=True)]

    def miou(self) -> float:
        """Mean intersection over union, over the classes that have one."""
        known = [iou for iou in self.class_iou() if iou is not None]
        return sum(known) / len(known)

    def pixel_accuracy(self) -> float:
        """Share of pixels with the right answer."""
        return int(self.counts.diagonal().sum()) / int(self.counts.sum())
