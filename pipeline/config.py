"""Configuration: typed sections, YAML presets, `key=value` overrides, and one-line answers to mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ..common.errors import UnreadableFile
from ..common.kinds import Text, Whole
from ..common.names import safe_name
from ..common.reading import parse_yaml, read_yaml
from ..common.settings import Section
from ..common.text import plain
from ..models import BENCHMARKS, Space, any_space
from .data.settings import DataConfig
from .errors import UserError
from .explaining import explain, may_be_secret, nearest
from .export.settings import ExportConfig
from .latency.settings import LatencyConfig
from .ranking.settings import RankConfig
from .retrain.settings import HardSwishConfig, RetrainConfig
from .search.settings import SearchConfig
from .sizes import ProxySizeConfig, SizeConfig
from .supernet.settings import ScoringConfig, SupernetConfig

PRESETS_FOLDER = Path(__file__).parent / "presets"


class Config(Section):
    """Everything that decides a run."""

    preset: Text
    target: Text = "pixel"
    seed: Whole = Field(default=0, ge=0)
    space: Text = "b"
    data: DataConfig = DataConfig()
    proxy: ProxySizeConfig
    deploy: SizeConfig
    supernet: SupernetConfig
    latency: LatencyConfig = LatencyConfig()
    scoring: ScoringConfig = ScoringConfig()
    search: SearchConfig
    retrain: RetrainConfig
    hard_swish: HardSwishConfig = HardSwishConfig()
    rank: RankConfig = RankConfig()
    export: ExportConfig = ExportConfig()

    @field_validator("preset")
    @classmethod
    def _preset_can_name_a_folder(cls, value: str) -> str:
        return safe_name(value, "a preset")

    @field_validator("space")
    @classmethod
    def _space_exists(cls, value: str) -> str:
        any_space(value)
        return value

    @model_validator(mode="after")
    def _images_fit_the_space(self) -> Config:
        space = any_space(self.space)
        space.check_resolution(min(self.proxy.resolution, self.deploy.resolution))
        if self.proxy.cells is not None and not space.can_be_shortened:
            able = ", ".join(name for name, other in BENCHMARKS.items() if other.can_be_shortened)
            raise ValueError(f"proxy.cells is for space {able}, not for {self.space}")
        if self.supernet.init == "aligned" and not space.has_aligned_init:
            raise ValueError(f"supernet.init=aligned is for mobile spaces, not for {self.space}")
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> Config:
        for name, section in (("supernet", self.supernet), ("retrain", self.retrain)):
            if section.warmup_epochs >= section.epochs:
                raise ValueError(
                    f"{name}.warmup_epochs ({section.warmup_epochs}) must be smaller than {name}.epochs "
                    f"({section.epochs})"
                )
        return self

    @model_validator(mode="after")
    def _inherited_weights_fit(self) -> Config:
        if self.retrain.init == "inherited" and self.proxy.width != self.deploy.width:
            raise ValueError(
                f"retrain.init=inherited needs proxy.width ({self.proxy.width:g}) equal to deploy.width "
                f"({self.deploy.width:g})"
            )
        return self

    @property
    def proxy_space(self) -> Space:
        """The search space as the supernet is trained in it."""
        space = any_space(self.space).scaled(self.proxy.width)
        return space.shortened(self.proxy.cells) if self.proxy.cells else space

    def to_yaml(self) -> str:
        """The whole configuration, resolved."""
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False)


def list_presets() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS_FOLDER.glob("*.yaml"))


def read_config(preset: str, overrides: Sequence[str] = (), **top_level: Any) -> Config:
    """Resolve a preset with overrides, checked only as far as is known without importing torch or timm.

    Args:
        preset: name of a preset, or path of a YAML file of the same form.
        overrides: `section.key=value` texts; values are read as YAML.
        **top_level: `target`, `seed` and the like; `None` keeps the preset's.

    Raises:
        UserError: unknown preset or key (the nearest valid name is given), or a value out of range.
    """
    values = {"preset": Path(preset).stem} | _read_preset(preset)  # a run's own config.yaml names the one it had
    values.update({key: value for key, value in top_level.items() if value is not None})
    given: set[str] = set()
    for text in overrides:
        key, value = _parsed(text)
        _refuse_swallowing(key, given)
        _override(values, key, value)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, Config)) from None


def _read_preset(preset: str) -> dict[str, Any]:
    path = PRESETS_FOLDER / f"{preset}.yaml" if preset in list_presets() else Path(preset)
    if "\0" in preset or not path.exists():
        raise UserError(f"unknown preset '{preset}'{nearest(preset, list_presets())}")
    try:
        values = read_yaml(path)
    except UnreadableFile as error:
        raise UserError(str(error)) from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a configuration: expected sections such as supernet: and search:")
    return values


def _parsed(text: str) -> tuple[str, Any]:
    """Key and value of an override. No error shows the value: it may hold a password."""
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not key:
        shown = plain(key) if len(key) <= 40 and "/" not in key else "..."
        raise UserError(f"--set {shown}: expected key=value, for example --set supernet.epochs=3")
    try:
        return key, parse_yaml(value, f"--set {plain(key)}: the value")
    except UnreadableFile as error:
        if may_be_secret(key.split("."), Config):  # reasons may quote a part of it
            raise UserError(f"--set {plain(key)}: the value is not valid YAML") from None
        raise UserError(str(error)) from None


def repeated_settings(overrides: Sequence[str]) -> list[str]:
    """Keys that are given more than once, with different values: the last one counts, and people should know."""
    given: dict[str, Any] = {}
    repeated: list[str] = []
    for key, value in map(_parsed, overrides):
        if key in given and given[key] != value:
            repeated.append(key)
        given[key] = value
    return list(dict.fromkeys(repeated))


def _refuse_swallowing(key: str, given: set[str]) -> None:
    """A whole section would take back what was set inside it."""
    for other in given:
        if other.startswith(f"{key}."):
            raise UserError(f"--set {plain(key)} would replace --set {plain(other)} before it: give it first")
    given.add(key)


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {plain(key)}: {plain(section)} is a value, not a section")
        values = inner
    values[leaf] = value
