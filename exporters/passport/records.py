"""What a passport says of a network, part by part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ...latency_tables.sustained import Sustained
from ..parity import Parity
from .checksums import Sha256, is_plain_name

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


class Part(BaseModel):
    """A part of a passport: nothing besides what is known, and nothing that changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracy(Part):
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


class ParityRecord(Part):
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


class MemoryRecord(Part):
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


class SustainedRecord(Part):
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


class LatencyRecord(Part):
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


class ExportedFile(Part):
    """A file that was handed over; the first of a format is the model."""

    path: FileName
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ProbeRecord(Part):
    """Images that everybody can make again, and that every file was asked about.

    Attributes:
        recipe: names how they are made, see `model_facts.probe_images`.
        sha256: of their numbers, float32 `[B, C, H, W]`.
    """

    recipe: str
    sha256: Sha256


class AnswerRecord(Part):
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


class FileFacts(Part):
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


class FormatRecord(Part):
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


class Licenses(Part):
    """Under which terms data and code stand.

    Attributes:
        data: of the images, as the user states it.
        code: of this project.
        packages: what the files were made with, by package, as its own metadata states it.
    """

    data: str = "not stated"
    code: str = "Apache-2.0"
    packages: dict[str, str] = {}
