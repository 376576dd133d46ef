"""Ranges of activations, from what they are on real images.

ONNX Runtime has calibrators of its own. They keep every tensor of every image in memory, which at 224 px is gigabytes,
and its entropy calibrator looks at as many bins as it has levels, so that it never cuts anything off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from ...latency_tables.runtimes.quantize import Range
from .graph import inner_tensors
from .settings import Method

_BINS = 2048
_STEP = 16  # bins between two thresholds that entropy compares
_MOST_VALUES = 1 << 16  # of a tensor of one image, in its histogram
_NEVER = 1e-12  # a probability
_BATCH = 4  # images at a time: all tensors of an image of 224 px are 80 MB


@dataclass
class Distribution:
    """What a tensor held: smallest and largest value, and how often which, in `_BINS` equal bins between them."""

    low: float
    high: float
    counts: np.ndarray

    def range(self, method: Method, percentile: float) -> Range:
        """What 8 bits are to hold; 0 always is.

        Args:
            method: `minmax` cuts nothing off, `percentile` the rarest values, and `entropy` what leaves the
                distribution after quantisation closest to the one before (Kullback and Leibler).
            percentile: share of values to keep, in percent.
        """
        low, high = self.low, self.high
        if method != "minmax" and self.counts.any():
            low, high = self._percentile(percentile) if method == "percentile" else self._entropy()
        return min(0.0, low), max(0.0, high)

    def _percentile(self, percentile: float) -> Range:
        cut = (1 - percentile / 100) / 2
        shares = np.cumsum(self.counts) / self.counts.sum()
        edges = np.linspace(self.low, self.high, _BINS + 1)
        first, last = np.searchsorted(shares, (cut, 1 - cut)).clip(max=_BINS - 1)
        return float(edges[first]), float(edges[last + 1])

    def _entropy(self) -> Range:
        """One threshold of absolute values; a tensor without negative values has twice the levels for them."""
        largest = max(-self.low, self.high)
        edges = np.linspace(self.low, self.high, _BINS + 1)
        magnitudes = np.abs(edges[:-1] + edges[1:]) / 2
        counts = np.histogram(magnitudes, _BINS, (0, largest), weights=self.counts)[0]
        # Zeros (of ReLU) are held exactly at any scale, and would drown everything else.
        counts[0] = counts[1]
        levels = 128 if self.low < 0 else 256
        candidates = range(levels, _BINS + 1, _STEP)
        best = min(candidates, key=lambda kept: _divergence(counts, kept, levels))
        threshold = largest * best / _BINS
        return max(self.low, -threshold), min(self.high, threshold)


def _divergence(counts: np.ndarray, kept: int, levels: int) -> float:
    """Kullback-Leibler divergence of counts cut off after `kept` bins from the same in `levels` levels."""
    reference = counts[:kept].astype(np.float64)
    reference[-1] += counts[kept:].sum()
    starts = np.arange(levels) * kept // levels
    present = counts[:kept] > 0
    sums, filled = np.add.reduceat(counts[:kept], starts), np.add.reduceat(present.astype(np.float64), starts)
    sizes = np.diff(np.append(starts, kept))
    spread = np.repeat(np.divide(sums, filled, out=np.zeros(levels), where=filled > 0), sizes) * present
    first = reference / max(reference.sum(), 1)
    second = (spread / max(spread.sum(), 1)).clip(min=_NEVER)  # what was cut off may end in a bin that was empty
    return float((first * np.log(first.clip(min=_NEVER) / second)).sum())


def distributions(
    model: onnx.ModelProto, names: Sequence[str], images: Tensor, histograms: bool
) -> dict[str, Distribution]:
    """What tensors of a model hold on images.

    Args:
        model: in float.
        names: of the tensors, which hold float32 numbers: shapes need no range.
        images: preprocessed, `[N, C, H, W]`.
        histograms: whether to count values; only `minmax` does without.
    """
    found: dict[str, Distribution] = {}
    for values in inner_tensors(model, names, images, _BATCH):
        for name, value in values.items():
            low, high = float(value.min()), float(value.max())
            known = found.setdefault(name, Distribution(low, high, np.zeros(_BINS)))
            known.low, known.high = min(known.low, low), max(known.high, high)
    if not histograms:
        return found
    for values in inner_tensors(model, names, images, _BATCH):
        for name, value in values.items():
            known = found[name]
            if known.high > known.low:
                # An odd step does not walk along one column of an image.
                step = max(1, value.size // (_MOST_VALUES * len(value))) | 1
                part = torch.from_numpy(value.ravel()[::step].copy())
                known.counts += torch.histc(part, _BINS, known.low, known.high).numpy()
    return found
