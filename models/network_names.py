"""How networks are named: by the paper, by timm, as an architecture's text, or as a user's own `module:attribute`."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..common.text import plain
from .architecture import Architecture
from .spaces.mobile.published import PUBLISHED
from .spaces.registry import BENCHMARKS, MOBILE

_LONGEST = 60  # of a name that is shown in an error


@dataclass(frozen=True, slots=True)
class TimmModel:
    """A model that timm knows by name."""

    name: str

    def __str__(self) -> str:
        return f"timm:{self.name}"


@dataclass(frozen=True, slots=True)
class UserModel:
    """An attribute of a module that can be imported: an `nn.Module`, or whatever makes one when it is called."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


AnyNetwork = Architecture | TimmModel | UserModel


def parse_any_network(text: str) -> AnyNetwork:
    """A published name, an architecture's text, a timm model, or `module:attribute`.

    Nothing is imported for it: neither timm, which takes seconds, nor the user's module.

    Raises:
        ValueError: none of these.
    """
    space, colon, rest = text.partition(":")
    if text in PUBLISHED or (colon and (space in MOBILE or space in BENCHMARKS)):
        return parse_network(text)
    if colon and space != "timm":
        return _users(space, rest)
    name = rest if colon else text
    known = timm_names()
    if name.partition(".")[0] in known:  # after the dot: which weights
        return TimmModel(name)
    close = ", ".join(difflib.get_close_matches(name[:_LONGEST], known, n=3))
    raise ValueError(
        f"unknown network '{_short(text)}'{f': did you mean {close}?' if close else ':'} Networks are named as in "
        "`fairnas models` or by timm, or written: an architecture (b:E3K7-...) or module:attribute"
    )


def parse_network(name_or_text: str) -> Architecture:
    """The architecture behind a published name (`fairnas_a_se`) or an architecture's text (`b:E3K7-...`).

    Raises:
        ValueError: neither.
    """
    if name_or_text in PUBLISHED:
        return PUBLISHED[name_or_text]
    if ":" in name_or_text:
        return Architecture.parse(name_or_text)
    raise ValueError(
        f"unknown network '{_short(name_or_text)}': choose from {', '.join(PUBLISHED)}, or write an architecture, "
        "b:E3K7-..."
    )


def _users(module: str, attribute: str) -> UserModel:
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise ValueError(
            f"'{_short(f'{module}:{attribute}')}' names no network: expected module:attribute, such as "
            "my_package.my_module:make_network, or space:blocks, such as b:E3K7-E3K3-..."
        )
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"'{_short(f'{module}:{attribute}')}' names no network: {module} is a module of Python's own")
    return UserModel(module, attribute)


@lru_cache
def _names_in_timms_sources() -> frozenset[str]:
    """What timm registers when it is imported, read in milliseconds from its sources, which takes seconds to run."""
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    names = {"fairnas", *PUBLISHED}  # `networks.py` registers them
    for path in Path(found.submodule_search_locations[0], "models").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        names.update(re.findall(r"^@register_model\s*\ndef (\w+)\(", text, re.MULTILINE))
        for deprecated in re.findall(r"register_model_deprecations\(\s*__name__,\s*\{(.*?)\}", text, re.DOTALL):
            names.update(re.findall(r"""['"]([\w.]+)['"]\s*:""", deprecated))
    return frozenset(names)


def timm_names() -> frozenset[str]:
    """Names of the models that timm knows, ours among them, without the parts that tell weights apart."""
    names = _names_in_timms_sources()
    if (
        "timm" in sys.modules or "resnet50" not in names
    ):  # also what others registered; or its sources changed their form
        import timm

        names = names | frozenset(timm.list_models())
    return names


def _short(text: str) -> str:
    shown = plain(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
