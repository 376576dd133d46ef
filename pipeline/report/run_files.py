"""Reads the files of a run folder, as many as there are.

A run that was stopped lacks some files, and one that is still going may have a last line that is half written. Neither
is an error for a report: what is missing stays empty, and what cannot be read is named in `RunFiles.problems`.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...common.errors import FairnasError, UnreadableFile
from ...common.names import UnsafeNameError, inside, safe_name
from ...common.reading import parse_json, parse_yaml, read_bytes, read_json, read_text
from ...common.text import plain
from ...exporters.pages.formatting import number
from ..ranking import TRUTH_PREFIX
from ..runs.manifest import MOVING, PREVIOUS
from ..search.limits import Limit, read_limit
from ..search.quantities import excess

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PICTURE = 8 << 20  # bytes
QUANTITIES = ("accuracy", "latency_ms", "latency_upper_ms", "latency_int8_ms", "madds", "params")


@dataclass(frozen=True, slots=True)
class Scored:
    """One architecture that the search scored: a row of `search/pareto.csv`."""

    architecture: str
    values: dict[str, float | None]
    feasible: bool
    on_front: bool
    generation: int | None
    extrapolated: bool


@dataclass(slots=True)
class RunFiles:
    """What a run folder holds; empty where a file is missing."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    supernet_metrics: list[dict[str, Any]] = field(default_factory=list)
    fairness: dict[str, Any] = field(default_factory=dict)
    oneshot: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    corrected_table: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    picks: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    retrain_metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    retrain_results: dict[str, dict[str, Any]] = field(default_factory=dict)
    passports: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificate: dict[str, Any] = field(default_factory=dict)
    ranked: list[tuple[str, float, float]] = field(default_factory=list)
    similarity: dict[str, Any] = field(default_factory=dict)
    feature_maps: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def networks(self) -> list[str]:
        """Names of all networks of the run, picks first: the order that decides their colours."""
        named = [pick["name"] for pick in self.picks]
        return list(dict.fromkeys([*named, *self.retrain_metrics, *self.passports]))

    @property
    def objectives(self) -> list[str]:
        """Quantities that the search optimised; accuracy and latency where the run does not say."""
        objectives = self.history.get("objectives")
        found = [name for name in objectives if name in QUANTITIES] if isinstance(objectives, dict | list) else []
        return found or ["accuracy", "latency_ms"]

    @property
    def constraints(self) -> list[Limit]:
        """Limits that the search kept; that on latency as it stood when the picks were measured."""
        found = [limit for text in as_list(self.history.get("constraints")) if (limit := read_limit(text)) is not None]
        records = (self.measured, "latency_ms"), (as_dict(self.measured.get("int8")), "latency_int8_ms")
        # Earlier runs do not say of what the limit is.
        corrected = {
            record["quantity"] if record.get("quantity") in QUANTITIES else earlier: number(record.get("limit_ms"))
            for record, earlier in records
        }
        return [replace(limit, value=corrected.get(limit.quantity) or limit.value) for limit in found]

    def keeps_limits(self, values: Mapping[str, float | None]) -> bool | None:
        """Whether all limits of known values are kept; None where none can be judged."""
        known = [
            (c.quantity, value, c.value) for c in self.constraints if (value := values.get(c.quantity)) is not None
        ]
        return all(excess(*each) <= 0 for each in known) if known else None


def read_run(folder: Path) -> RunFiles:
    """Read every file of a run folder that the report shows."""
    run = RunFiles(folder)
    reader = _Reader(folder, run.problems)
    run.config_text = reader.text("config.yaml") or ""
    run.config = reader.yaml("config.yaml")
    run.manifest = reader.mapping("manifest.json")
    run.supernet_metrics = reader.lines("supernet/metrics.jsonl")
    run.fairness = reader.mapping("supernet/fairness.json")
    run.oneshot = reader.mapping("oneshot/scores.json")
    run.table = reader.mapping("latency/table.json")
    run.corrected_table = reader.mapping("picks/table.json")
    run.validation = reader.mapping("latency/validation.json")
    run.scored = reader.scored("search/pareto.csv")
    picks = reader.mappings("picks/picks.json") or reader.mappings("search/picks.json")
    run.picks = [pick for pick in picks if isinstance(pick.get("name"), str)]
    run.measured = reader.mapping("picks/measured.json")
    run.history = reader.mapping("search/history.json")
    run.certificate = reader.mapping("rank/certificate.json")
    run.ranked = reader.ranked("rank/scores.csv")
    run.similarity = reader.mapping("similarity/similarity.json")
    run.feature_maps = reader.picture("similarity/feature_maps.png")
    for name in reader.subfolders("retrain"):
        if name.startswith(TRUTH_PREFIX):
            continue  # trained to judge the supernet, and in its certificate
        run.retrain_metrics[name] = reader.lines(f"retrain/{name}/metrics.jsonl")
        run.retrain_results[name] = reader.mapping(f"retrain/{name}/result.json")
    for name in reader.subfolders("export"):
        if passport := reader.mapping(f"export/{name}/passport.json"):
            run.passports[name] = passport
    return run


def as_dict(value: Any) -> dict[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


class _Reader:
    """Reads files below a folder and notes which of them could not be read; no link leads it out of the folder."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.folder = folder
        self.problems = problems

    def text(self, name: str) -> str | None:
        path = self._path(name)
        try:
            return read_text(path) if path else None
        except UnreadableFile as error:
            self._note(name, str(error))
            return None

    def mapping(self, name: str) -> dict[str, Any]:
        return as_dict(self._json(name))

    def mappings(self, name: str) -> list[dict[str, Any]]:
        return [item for item in as_list(self._json(name)) if isinstance(item, dict)]

    def yaml(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        try:
            return as_dict(parse_yaml(text, name)) if text else {}
        except UnreadableFile as error:
            self._note(name, str(error))
            return {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Records of a JSON-lines file; the last line of a killed run may be torn, and is left out silently."""
        records: list[dict[str, Any]] = []
        torn: list[int] = []
        lines = (self.text(name) or "").splitlines()
        for position, line in enumerate(lines):
            try:
                records.append(as_dict(parse_json(line, name)))
            except UnreadableFile:
                torn.append(position)
        if any(position < len(lines) - 1 for position in torn):
            self._note(name, f"{len(torn)} of its {len(lines)} lines are not valid JSON")
        return records

    def scored(self, name: str) -> list[Scored]:
        return [
            Scored(
                architecture=row.get("architecture") or "",
                values={quantity: number(row.get(quantity)) for quantity in QUANTITIES},
                feasible=_flag(row.get("feasible"), otherwise=True),
                on_front=_flag(row.get("on_front")),
                generation=None if (found := number(row.get("generation"))) is None else int(found),
                extrapolated=_flag(row.get("extrapolated")),
            )
            for row in self._rows(name)
        ]

    def ranked(self, name: str) -> list[tuple[str, float, float]]:
        """Architectures with their one-shot score and their true accuracy."""
        found = (
            (row.get("architecture"), number(row.get("oneshot")), number(row.get("truth"))) for row in self._rows(name)
        )
        return [(text, score, true) for text, score, true in found if text and score is not None and true is not None]

    def picture(self, name: str) -> str:
        """A PNG file as a data address; empty where it is missing or of another kind."""
        path = self._path(name)
        try:
            content = read_bytes(path, _LARGEST_PICTURE) if path else b""
        except UnreadableFile as error:
            self._note(name, str(error))
            return ""
        return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content[:8] == _PNG else ""

    def subfolders(self, name: str) -> list[str]:
        """Names of the folders below one; none that could be no stage's."""
        parent = self._path(name)
        found: list[str] = []
        for child in sorted(parent.iterdir()) if parent and parent.is_dir() else ():
            if child.name.endswith((PREVIOUS, MOVING)):
                continue  # earlier results, laid aside
            try:
                if inside(self.folder, name, safe_name(child.name, "a network")).is_dir():
                    found.append(child.name)
            except UnsafeNameError as error:
                self._note(plain(f"{name}/{child.name}"), str(error))
        return found

    def _path(self, name: str) -> Path | None:
        """Where a file lies; None where there is none, or a link that might lead out of the folder."""
        try:
            path = inside(self.folder, name)
        except UnsafeNameError as error:
            self._note(name, str(error))
            return None
        return path if path.exists() else None

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Rows of a CSV file, as far as they can be read."""
        try:
            yield from csv.DictReader((self.text(name) or "").splitlines())
        except csv.Error as error:
            self._note(name, str(error))

    def _json(self, name: str) -> Any:
        path = self._path(name)
        try:
            return read_json(path) if path else None
        except FairnasError as error:
            self._note(name, str(error))
            return None

    def _note(self, name: str, reason: str) -> None:
        note = f"{name} could not be read ({plain(reason)}); what it holds is left out."
        if note not in self.problems:
            self.problems.append(note)


def _flag(value: str | None, *, otherwise: bool = False) -> bool:
    return otherwise if not value else value.strip().lower() in {"true", "1", "yes"}
