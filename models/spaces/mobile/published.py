"""FairNAS-A, B and C: the three networks published with the paper (Figure 2 of its supplement)."""

from __future__ import annotations

from ...architecture import Architecture

_CHOICES = {
    "a": "E3K7-E3K3-E3K7-E6K3-E6K7-E3K3-E3K3-E6K7-E6K7-E3K5-E6K3-E3K5-E3K5-E6K3-E6K3-E6K7-E6K3-E6K7-E6K5",
    "b": "E3K5-E3K3-E3K5-E3K3-E6K3-E3K5-E3K7-E3K3-E6K3-E3K5-E3K3-E6K3-E3K7-E3K3-E6K7-E6K5-E6K7-E6K3-E6K5",
    "c": "E3K5-E3K3-E3K7-E3K3-E3K3-E3K3-E3K3-E3K3-E3K3-E6K3-E3K3-E3K3-E3K3-E3K3-E6K7-E6K7-E6K3-E6K3-E6K5",
}
# The paper's Table 1 lists SE networks with the parameters of ratio 0.5 and the multiply-adds and accuracies of 1.0.
# The last two are ours: the same networks with hard-Swish, for 8 bits.
_VARIANTS = {"": "", "_se": "+se1", "_se050": "+se0.5", "_se_hswish": "+se1+hswish", "_se050_hswish": "+se0.5+hswish"}

PUBLISHED: dict[str, Architecture] = {
    f"fairnas_{letter}{suffix}": Architecture.parse(f"b:{text}{variant}")
    for letter, text in _CHOICES.items()
    for suffix, variant in _VARIANTS.items()
}
