"""The passport: what it refuses, what its file and its page hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairnas.exporters import ExportError, Parity
from fairnas.exporters.pages.formatting import milliseconds
from fairnas.exporters.passport import folder as export_folder
from fairnas.exporters.passport.folder import write_export_folder
from fairnas.exporters.passport.page import render_passport
from fairnas.exporters.passport.passport import SCHEMA_FILE, Passport, package_licenses, read_passport, schema
from fairnas.exporters.passport.records import FormatRecord, ParityRecord
from pydantic import ValidationError

from . import small_export as small


@pytest.fixture(scope="module")
def passport() -> Passport:
    parity = ParityRecord.of(Parity(4, 2e-6, 3e-7, 4e-7, 1.0), tolerance=1e-4)
    return small.small_passport(small.small_onnx()[0], parity)


@pytest.fixture
def content(passport: Passport) -> dict[str, Any]:
    return json.loads(passport.to_json())


def test_the_published_schema_is_the_codes() -> None:
    remedy = 'run: python -c "from fairnas.exporters.passport import passport; passport.write_schema()"'
    assert json.loads(SCHEMA_FILE.read_text()) == schema(), remedy


def test_a_passport_conforms_to_the_published_schema(content: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    assert validator.is_valid(content)
    for changed in ({"schema_version": 1}, {"surprise": 1}, {"formats": []}, {"params": -1}):
        assert not validator.is_valid(content | changed)


def test_a_passport_is_read_as_it_was_written(passport: Passport) -> None:
    assert read_passport(passport.to_json()) == passport


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("surprise", value=1), "surprise"),
        (_set("preprocessing", "surprise", value=1), "surprise"),
        (_set("formats", 0, "surprise", value=1), "surprise"),
        (_set("formats", 0, "latency", 0, "surprise", value=1), "surprise"),
        (_set("formats", 0, "parity", value=None), "without having been compared"),
        (_set("formats", 0, "files", value=[]), "without a file"),
        (_set("formats", 0, "status", value="withheld"), "without a reason"),
        (_set("formats", 0, "status", value="fine"), "status"),
        (_set("formats", 1, "files", value=[{"path": "a", "bytes": 1, "sha256": "0" * 64}]), "yet there are files"),
        (_set("formats", 1, "format", value="onnx"), "format onnx is listed twice"),
        (_set("formats", 0, "files", 0, "sha256", value="0" * 63), "sha256"),
        (_set("formats", 0, "files", 0, "path", value="../model.onnx"), "no plain path"),
        (_set("formats", 0, "files", 0, "path", value="/etc/passwd"), "no plain path"),
        (_set("formats", 0, "accuracy", "exported_top1", value=1.2), "exported_top1"),
        (_set("formats", 0, "latency", 0, "latency_ms", value=0), "latency_ms"),
        (_set("classes", value=["cat"]), "1 class names for 4 classes"),
        (_set("resolution", value=64), "32 px for a network of 64 px"),
        (_set("schema_version", value=1), "schema version 1, this fairnas reads 2: export again"),
        (_set("schema_version", value=3), "update fairnas"),
        (_set("schema_version", value="2"), "schema version 2, this"),
    ],
)
def test_what_does_not_agree_with_itself_is_refused_in_a_line(
    content: dict[str, Any], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(content)
    with pytest.raises(ExportError, match=said) as refused:
        read_passport(json.dumps(content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe{", b"null", b"[" * 100_000, b'{"schema_version": 2'])
def test_what_is_no_passport_is_refused_in_a_line(text: bytes) -> None:
    with pytest.raises(ExportError) as refused:
        read_passport(text)
    assert "\n" not in str(refused.value)


def test_answers_that_are_no_numbers_are_null_and_not_lost() -> None:
    parity = ParityRecord.of(Parity(4, math.nan, math.inf, math.nan, 0.25))
    assert (parity.max_abs_difference, parity.mean_abs_difference, parity.max_relative_difference) == (None,) * 3
    facts = FormatRecord(
        format="onnx",
        status="not_run",
        reason="r",
        facts={"snr": math.inf, "share": np.float32(0.5), "sizes": (np.int64(3), 4)},
    ).facts
    assert facts == {"snr": None, "share": 0.5, "sizes": [3, 4]}
    with pytest.raises(ValidationError, match="nothing that JSON can hold"):
        FormatRecord(format="onnx", status="not_run", reason="r", facts={"where": Path()})


def test_licenses_are_those_of_installed_packages() -> None:
    found = package_licenses("numpy", "onnxruntime", "no-such-package")
    assert list(found) == ["numpy", "onnxruntime"]
    assert "BSD" in found["numpy"]
    assert "MIT" in found["onnxruntime"]


class _Page(HTMLParser):
    """Tags and visible text of a page; a tag that closes nothing fails."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        words: list[str] = []
        self.handle_data = lambda data: None if "style" in self.open else words.append(data)
        self.feed(source)
        assert not self.open
        self.text = " ".join("".join(words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_what_the_passport_says(passport: Passport) -> None:
    page = _Page(render_passport(passport))
    for record in passport.formats:
        assert record.format in page.text
        assert record.reason is None or record.reason in page.text
        assert all(milliseconds(entry.latency_ms) in page.text for entry in record.latency)
        assert all(file.sha256 in page.text for file in record.files)
    wanted = ["93.12%", "90.01%", "-3.11", "limit -1.00", "/blocks.2/conv_dw/Conv", "7.2 MB", "7.10 ms to 8.80 ms"]
    wanted += ["1.31 ms (+9%)", "62 °C", "percentile", "31.2346", "CC-BY-4.0", "9469", "Not signed"]
    assert [text for text in wanted if text not in page.text] == []
    assert page.text.count("snr (dB)") == 1  # the head of a table with a row per layer
    assert hashlib.sha256(passport.to_json().encode()).hexdigest() in page.text


def test_text_from_data_is_shown_and_never_becomes_markup(passport: Passport) -> None:
    hostile = "</style><img src=x onerror=alert(1)>'\"&amp;"
    changes = {"name": hostile, "architecture": hostile, "lineage": {hostile: {hostile: [hostile]}}}
    page = _Page(render_passport(passport.model_copy(update=changes)))
    assert page.text.count(hostile) >= 5
    assert "<script>alert(1)</script>" in page.text
    assert not {"img", "script", "b"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("style") == 1


def test_the_page_asks_nobody_for_anything_and_links_to_its_own_files_only(passport: Passport) -> None:
    record = passport.formats[0]
    odd = small.exported_file("javascript:alert(1) ?.onnx", b"")
    strange = passport.model_copy(update={"formats": [record.model_copy(update={"files": [*record.files, odd]})]})
    page = _Page(render_passport(strange))
    links = {a["href"] for tag, a in page.tags if tag in ("a", "link")}
    assert links == {"data:,", "model.onnx", "passport.json", "javascript%3Aalert%281%29%20%3F.onnx"}
    assert not [tag for tag, a in page.tags if {"src", "style", "onclick"} & set(a)]
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_a_network_of_others_needs_neither_accuracy_nor_prediction_nor_width(passport: Passport) -> None:
    record = passport.formats[0].model_copy(update={"accuracy": None, "latency": [], "memory": None})
    changes = {"architecture": "timm:mobilenetv2_100", "width": None, "se_ratio": None, "formats": [record]}
    foreign = Passport.model_validate(passport.model_copy(update=changes).model_dump())
    text = _Page(render_passport(foreign)).text
    assert "timm:mobilenetv2_100" in text
    assert "None" not in text


def test_a_folder_is_closed_only_over_the_files_of_its_passport(tmp_path: Path, passport: Passport) -> None:
    content, _ = small.small_onnx()
    with pytest.raises(ExportError, match=r"model\.onnx is missing"):
        write_export_folder(tmp_path, passport)
    (tmp_path / "model.onnx").write_bytes(content[:-1] + b"x")
    with pytest.raises(ExportError, match="not the file that its passport is about"):
        write_export_folder(tmp_path, passport)
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "old.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"old\.onnx is none of the files that are exported: move"):
        write_export_folder(tmp_path, passport)
    (tmp_path / "old.onnx").unlink()
    (tmp_path / ".key").write_text("the run's own")
    write_export_folder(tmp_path, passport)
    assert "key" not in (tmp_path / "SHA256SUMS").read_text()


def test_what_is_written_last_is_what_makes_a_folder_whole(
    tmp_path: Path, passport: Passport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill at any moment leaves a folder without checksums; older ones are gone before the first new byte."""
    (tmp_path / "model.onnx").write_bytes(small.small_onnx()[0])
    write_export_folder(tmp_path, passport)
    order: list[str] = []
    write = export_folder.write_atomic

    def watched(path: Path, content: bytes | str) -> None:
        assert not (tmp_path / "SHA256SUMS").exists()
        order.append(path.name)
        write(path, content)

    monkeypatch.setattr(export_folder, "write_atomic", watched)
    write_export_folder(tmp_path, passport)
    assert order == ["passport.json", "passport.html", "SHA256SUMS"]
