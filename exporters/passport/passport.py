"""The passport: everything that a reviewer asks about an exported network, in one JSON file.

`passport.schema.json` beside this module is its JSON schema. `passport_page` shows it to people, `verify` checks it
against the files.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...common.errors import UnreadableFile
from ...common.files import write_json
from ...common.reading import parse_json
from ..errors import ExportError
from ..onnx.export import Preprocessing
from .checksums import Sha256
from .records import Count, ExportedFile, Facts, FormatRecord, Licenses, Moment, Part, ProbeRecord, Width

SCHEMA_VERSION = 2
SCHEMA_FILE = Path(__file__).with_name("passport.schema.json")
PASSPORT = "passport.json"


class Passport(Part):
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
    """Write it again: `python -c "from fairnas.exporters.passport import passport; passport.write_schema()"`."""
    write_json(SCHEMA_FILE, schema())
