"""Architectures: what a space has one choice of for every layer, and their text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..common.text import plain
from .spaces.registry import any_space

_LONGEST_SHOWN = 40  # characters of a text in an error


@dataclass(frozen=True, slots=True)
class Architecture:
    """A genotype: one choice index per layer of a named space.

    Its text is the space, a colon and the choices (`b:E3K7-E3K3-...`), with `+se1` or `+se0.5` for the variant with
    squeeze-and-excitation (ratio to the block's input channels) and Swish in every searchable layer. `+hswish` after it
    stands for hard-Swish and hard sigmoid gates in their place (MobileNetV3, arXiv 1905.02244, sec. 5.2), which survive
    8 bits better; the weights are the same ones.
    """

    space: str
    choices: tuple[int, ...]
    se_ratio: float = 0.0
    hard_swish: bool = False

    def __post_init__(self) -> None:
        if self.hard_swish and not self.se_ratio:
            raise ValueError("hard-Swish stands for the Swish of networks with squeeze-and-excitation: there is none")

    def __str__(self) -> str:
        names = [str(choice) for choice in any_space(self.space).choices]
        suffix = f"+se{self.se_ratio:g}" if self.se_ratio else ""
        suffix += "+hswish" if self.hard_swish else ""
        return f"{self.space}:{'-'.join(names[index] for index in self.choices)}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read the text form.

        Raises:
            ValueError: unknown space, wrong number of layers, a choice that the space does not have, or a ratio out of
                range.
        """
        name, _, rest = text.strip().partition(":")
        blocks, plus, variant = rest.partition("+")
        shown = plain(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
        if not re.fullmatch(r"[\w-]+", name) or not re.fullmatch(r"[\w-]+", blocks):
            raise ValueError(f"'{shown}' is not an architecture: expected something like b:E3K7-E3K3-...")
        match = re.fullmatch(r"(?:se(\d(?:\.\d{1,4})?)(\+hswish)?)?", variant)
        if not match or (plus and not variant):
            raise ValueError(
                f"'{shown}' is not an architecture: '+{plain(variant[:_LONGEST_SHOWN])}' should be +se1, +se0.5 or "
                "such a ratio, or the same and +hswish"
            )
        space = any_space(name)
        names = blocks.split("-")
        if len(names) != len(space.layers):
            raise ValueError(f"'{shown}' names {len(names)} blocks; space {space.name} has {len(space.layers)} layers")
        known = {str(choice): index for index, choice in enumerate(space.choices)}
        unknown = [name for name in names if name not in known]
        if unknown:
            culprit = plain(unknown[0][:_LONGEST_SHOWN])
            raise ValueError(f"space {space.name} has no choice block '{culprit}': choose from {', '.join(known)}")
        for layer, (name, count) in enumerate(zip(names, space.genes, strict=True), start=1):
            if known[name] >= count:
                fitting = ", ".join(list(known)[:count])
                raise ValueError(f"layer {layer} of space {space.name} does not take '{name}': choose from {fitting}")
        se_ratio = float(match[1] or 0)
        if se_ratio and not space.is_deployable:
            raise ValueError(f"'+{variant}': space {space.name} has no squeeze-and-excitation")
        # A tenth of 8 channels, the fewest that a scaled space has, still rounds to 1.
        if se_ratio and not 0.1 <= se_ratio <= 1:
            raise ValueError(f"'+{variant}': the squeeze-and-excitation ratio must be 0 or lie between 0.1 and 1")
        return cls(space.name, tuple(known[name] for name in names), se_ratio, hard_swish=match[2] is not None)

    def with_se(self, se_ratio: float) -> Architecture:
        """The same choices with squeeze-and-excitation and Swish (0 for neither)."""
        return replace(self, se_ratio=se_ratio, hard_swish=self.hard_swish and se_ratio > 0)

    def with_hard_swish(self) -> Architecture:
        """The same network with hard-Swish instead of Swish.

        Raises:
            ValueError: it has no Swish.
        """
        return replace(self, hard_swish=True)
