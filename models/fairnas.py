"""FairNAS-A, B and C: the three networks published with the paper (Figure 2 of its supplement)."""

from __future__ import annotations

from .search_space import Architecture

_CHOICES = {
    "a": "E3K7-E3K3-E3K7-E6K3-E6K7-E3K3-E3K3-E6K7-E6K7-E3K5-E6K3-E3K5-E3K5-E6K3-E6K3-E6K7-E6K3-E6K7-E6K5",
    "b": "E3K5-E3K3-E3K5-E3K3-E6K3-E3K5-E3K7-E3K3-E6K3-E3K5-E3K3-E6K3-E3K7-E3K3-E6K7-E6K5-E6K7-E6K3-E6K5",
    "c": "E3K5-E3K3-E3K7-E3K3-E3K3-E3K3-E3K3-E3K3-E3K3-E6K3-E3K3-E3K3-E3K3-E3K3-E6K7-E6K7-E6K3-E6K3-E6K5",
}
# The paper's Table 1 lists SE networks with the parameters of ratio 0.5 and the multiply-adds and accuracies of 1.0.
_SE_RATIOS = {"": 0.0, "_se": 1.0, "_se050": 0.5}

PUBLISHED: dict[str, Architecture] = {
    f"fairnas_{letter}{suffix}": Architecture.parse(f"b:{text}").with_se(ratio)
    for letter, text in _CHOICES.items()
    for suffix, ratio in _SE_RATIOS.items()
}
