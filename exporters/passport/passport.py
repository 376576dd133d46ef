"""The passport: everything that a reviewer asks about an exported network, in one JSON file.

`passport.schema.json` beside this module is its JSON schema. `passport_page` shows it to people, `verify` checks it
against the files.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ...common.errors import UnreadableFile
from ...common.files import write_json
from ...common.reading import parse_json
from ...latency_tables.sustained import Sustained
from ..errors import ExportError
from ..onnx.export import Preprocessing
from ..parity import Parity
from .checksums import Sha256, is_plain_name

SCHEMA_VERSION = 2
SCHEMA_FILE = Path(__file__).with_name("passport.schema.json")
PASSPORT = "passport.json"

Status: TypeAlias = Literal["written", "forced", "withheld", "not_run"]


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name!r} is no plain path below the passport's folder")
    return name


def _as_json(value: Any) -> Any:
    """A value as JSON can hold it; numbers that are none (an infinite signal-to-noise ratio) become null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic():
            return _as_json(value.item())
        case Mapping():
            return {str(key): _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
    raise ValueError(f"{value!r} is nothing that JSON can hold")


FileName = Annotated[str, AfterValidator(_plain)]
Facts = Annotated[dict[str, Any], BeforeValidator(_as_json)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Width = Annotated[float, Field(gt=0, le=100)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
Difference = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracy(_Part):
    """Top-1 on the validation images, before and after export.

    Attributes:
        pytorch_top1: of the network that was given.
        exported_top1: of the file, run by its own runtime.
        images: how many both are stated on.
        max_drop: what the format may lose; None where parity decides.
    """

    pytorch_top1: Share
    exported_top1: Share
    images: Count
    max_drop: Share | None = None


class ParityRecord(_Part):
    """How the file's logits differ from the network's. A difference is None where the file's answers are no numbers.

    Attributes:
        images: how many images were compared.
        max_abs_difference: largest difference of a logit.
        mean_abs_difference: mean difference of a logit.
        max_relative_difference: the largest one, relative to the network's largest logit.
        top1_agreement: share of images with the same answer.
        tolerance: the largest `max_relative_difference` that passes; None where accuracy decides.
        first_diverging_layer: the first one whose output differs by more than it should; None where none does, or
            nobody looked.
    """

    images: Count
    max_abs_difference: Difference | None
    mean_abs_difference: Difference | None
    max_relative_difference: Difference | None
    top1_agreement: Share
    tolerance: Difference | None = None
    first_diverging_layer: str | None = None

    @classmethod
    def of(
        cls, parity: Parity, *, tolerance: float | None = None, first_diverging_layer: str | None = None
    ) -> ParityRecord:
        """The record of a comparison."""
        return cls(
            images=parity.images,
            max_abs_difference=_as_json(parity.max_abs_difference),
            mean_abs_difference=_as_json(parity.mean_abs_difference),
            max_relative_difference=_as_json(parity.max_relative_difference),
            top1_agreement=parity.top1_agreement,
            tolerance=tolerance,
            first_diverging_layer=first_diverging_layer,
        )


class MemoryRecord(_Part):
    """What running the file at batch 1 takes, in MB (1,000,000 bytes) of resident memory of a process of its own.

    Attributes:
        runtime: what ran it.
        before_mb: with the runtime imported and no model.
        loaded_mb: with the model loaded.
        peak_mb: the most from before loading to after the last run.
        model_mb: what the model adds: `peak_mb` less `before_mb`.
        runs: how often it was run.
    """

    runtime: str
    before_mb: Megabytes
    loaded_mb: Megabytes
    peak_mb: Megabytes
    model_mb: Megabytes
    runs: Count


class SustainedRecord(_Part):
    """Speed under lasting load, see `measure_sustained`; medians of the first tenth and of the last quarter."""

    burst_ms: Milliseconds
    sustained_ms: Milliseconds
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    runs: Count
    temperature_c: float | None = None
    frequency_mhz: float | None = None

    @classmethod
    def of(cls, sustained: Sustained) -> SustainedRecord:
        """The record of a measurement."""
        return cls(**dataclasses.asdict(sustained))


class LatencyRecord(_Part):
    """One latency at batch 1 and where it comes from.

    Attributes:
        target: the target's name; `host` for the machine that exported.
        device: what it is called.
        kind: `predicted` from a latency table, or `measured` by running the file.
        source: the table, or the runtime.
        latency_ms: the prediction, or the shortest run.
        low_ms: 90% of such predictions end between this
        high_ms: and this.
        runtime: what ran the blocks that the table is of.
        other_runtime: whether that is another one than the file runs in: then the file's own time is not known.
        table_kind: of the table.
        table_state: what the table's check said.
        extrapolated: whether some block lies outside the sizes that were measured.
        median_ms: of the runs.
        p90_ms: of the runs.
        rounds: how many runs there were.
        sustained: what lasting load leaves of it.
    """

    target: str
    device: str
    kind: Literal["predicted", "measured"]
    source: str
    latency_ms: Milliseconds
    low_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    high_ms: Milliseconds | None = None
    runtime: str | None = None
    other_runtime: bool | None = None
    table_kind: Literal["measured", "scaled", "fitted"] | None = None
    table_state: Literal["validated", "fitted", "unvalidated", "failed"] | None = None
    extrapolated: bool | None = None
    median_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    rounds: Count | None = None
    sustained: SustainedRecord | None = None


class ExportedFile(_Part):
    """A file that was handed over; the first of a format is the model."""

    path: FileName
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ProbeRecord(_Part):
    """Images that everybody can make again, and that every file was asked about.

    Attributes:
        recipe: names how they are made, see `model_facts.probe_images`.
        sha256: of their numbers, float32 `[B, C, H, W]`.
    """

    recipe: str
    sha256: Sha256


class AnswerRecord(_Part):
    """What a file answers to the probe.

    Attributes:
        shape: of the logits.
        finite: whether all of them are numbers.
        steady: whether it answers the same twice.
        top1: the largest logit of each image, by place.
        scale: the largest absolute logit.
        values: of each image up to 16 logits, spread evenly over all of them.
    """

    shape: list[int]
    finite: bool
    steady: bool
    top1: list[int] = []
    scale: Difference = 0.0
    values: list[list[Annotated[float, Field(allow_inf_nan=False)]]] = []


class FileFacts(_Part):
    """What a model file itself holds.

    That may be less or more than its network has: a head that only training needs stays behind, filters that are not
    trained come along, what is shared may be written out.

    Attributes:
        numbers: weights and constants.
        tensors: that hold them.
        madds: multiply-adds of one image, of its convolutions and products of matrices; None where a size stays open.
        inputs: shape of each, None for sizes that are open.
        outputs: the same.
        network_params: parameters of the network that it was made from.
        network_madds: multiply-adds of that network.
        answer: to the probe; None where nothing here could run it.
    """

    numbers: Annotated[int, Field(ge=0)]
    tensors: Annotated[int, Field(ge=0)]
    madds: Annotated[int, Field(ge=0)] | None = None
    inputs: list[list[int | None]]
    outputs: list[list[int | None]]
    network_params: Annotated[int, Field(ge=0)]
    network_madds: Annotated[int, Field(ge=0)]
    answer: AnswerRecord | None = None


class FormatRecord(_Part):
    """One format that was asked for, and what became of it.

    Attributes:
        format: as in `--format`.
        status: `written`: it was run here and passed its check. `forced`: it failed its check and was written all the
            same, because that was asked for. `withheld`: it failed, and there is no file. `not_run`: nothing here can
            run it; files, where there are any, are as they were built, unchecked.
        reason: why it is not `written`, in one line.
        files: what was written.
        parity: against the network in PyTorch.
        accuracy: None also where the network's classes are not the data set's.
        memory: of running it here.
        latency: predicted for it, and measured of it.
        facts: what else a reviewer asks: calibration, layers that stayed in float, what an engine holds.
        holds: what its model file itself holds; None of engines, and in passports from before there was such a record.
    """

    format: str
    status: Status
    reason: str | None = None
    files: list[ExportedFile] = []
    parity: ParityRecord | None = None
    accuracy: Accuracy | None = None
    memory: MemoryRecord | None = None
    latency: list[LatencyRecord] = []
    facts: Facts = {}
    holds: FileFacts | None = None

    @model_validator(mode="after")
    def _says_what_happened(self) -> FormatRecord:
        if self.status != "written" and not self.reason:
            raise ValueError(f"{self.format} is {self.status} without a reason")
        if self.status in ("written", "forced") and not self.files:
            raise ValueError(f"{self.format} is {self.status} without a file")
        if self.status in ("written", "forced") and self.parity is None:
            raise ValueError(f"{self.format} is {self.status} without having been compared with the network")
        if self.status == "withheld" and self.files:
            raise ValueError(f"{self.format} is withheld, and yet there are files")
        return self


class Licenses(_Part):
    """Under which terms data and code stand.

    Attributes:
        data: of the images, as the user states it.
        code: of this project.
        packages: what the files were made with, by package, as its own metadata states it.
    """

    data: str = "not stated"
    code: str = "Apache-2.0"
    packages: dict[str, str] = {}


class Passport(_Part):
    """What the network is, what it was made from, and what was checked.

    Attributes:
        name: what the network is called.
        architecture: as text that builds it again (`b:E3K7-...`, `timm:NAME`, `module:attribute`).
        se_ratio: of squeeze-and-excitation; None for networks that are not ours.
        width: multiplier of all channel counts; None for networks that are not ours.
        resolution: side of the input images, in pixels.
        num_classes: how many logits there are.
        classes: label names in logit order.
        params: parameters of the network as trained.
        madds: multiply-adds of one image.
        preprocessing: of the images.
        formats: what was asked for, in that order.
        licenses: of data and code.
        lineage: from the images to the files: names, digests, keys, commit, versions, machine.
        signed_by: fingerprint of the key that signed the checksums (`SHA256:...`); None where nobody did.
        signed_at: when it was signed, in UTC, such as `2026-12-01T09:30:00Z`; None where nobody did.
        probe: images that every file was asked about; None in passports from before there were any.
        page: digest of what makes the page from a passport, so that a page can be made again and compared.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    architecture: str
    se_ratio: float | None = None
    width: Width | None = None
    resolution: Count
    num_classes: Count
    classes: list[str]
    params: Annotated[int, Field(ge=0)]
    madds: Annotated[int, Field(ge=0)]
    preprocessing: Preprocessing
    formats: Annotated[list[FormatRecord], Field(min_length=1)]
    licenses: Licenses = Licenses()
    lineage: Facts
    signed_by: str | None = None
    signed_at: Moment | None = None
    probe: ProbeRecord | None = None
    page: Sha256 | None = None

    @property
    def files(self) -> list[ExportedFile]:
        """Of all formats."""
        return [file for record in self.formats for file in record.files]

    def to_json(self) -> str:
        """As the file holds it."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Passport:
        if len(self.classes) != self.num_classes:
            raise ValueError(f"{len(self.classes)} class names for {self.num_classes} classes")
        if self.preprocessing.resolution != self.resolution:
            raise ValueError(f"images of {self.preprocessing.resolution} px for a network of {self.resolution} px")
        for what, names in (
            ("format", [record.format for record in self.formats]),
            ("file", [file.path for file in self.files]),
        ):
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{what} {twice[0]} is listed twice")
        return self


def read_passport(text: str | bytes) -> Passport:
    """A passport from its file's content.

    Raises:
        ExportError: it is not JSON, of another schema version, or does not conform; names what is wrong.
    """
    try:
        content = parse_json(text.decode() if isinstance(text, bytes) else text, "it")
    except (UnreadableFile, UnicodeDecodeError) as error:
        raise ExportError(f"not valid JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "update fairnas" if newer else "export again"
        raise ExportError(f"schema version {version}, this fairnas reads {SCHEMA_VERSION}: {remedy}")
    try:
        return Passport.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ExportError(f"{place}: {first['msg']}" if place else first["msg"]) from None


def package_licenses(*packages: str) -> dict[str, str]:
    """What the metadata of those packages that are installed says about their licence."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
        (expression,) = about.get_all("License-Expression") or [""]
        (stated,) = about.get_all("License") or [""]
        # The old field often holds the whole text of a licence.
        short = stated.strip() if len(stated) <= 80 and "\n" not in stated.strip() else ""
        found[name] = expression or ", ".join(classified) or short or "not stated"
    return found


def schema() -> dict[str, Any]:
    """The JSON schema of a passport's file; `passport.schema.json` beside this module is this."""
    return Passport.model_json_schema()


def write_schema() -> None:
    """Write it again: `python -c "from fairnas.exporters import passport; passport.write_schema()"`."""
    write_json(SCHEMA_FILE, schema())
