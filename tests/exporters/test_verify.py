"""Whoever changes an export folder is found out, by the name of the file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fairnas.common.files import sha256_file
from fairnas.exporters import ExportError, Preprocessing
from fairnas.exporters.checks import model_process
from fairnas.exporters.checks.findings import Finding, failed, ok
from fairnas.exporters.deployable import Deployable
from fairnas.exporters.litert.export import to_litert
from fairnas.exporters.litert.settings import LiteRtSettings
from fairnas.exporters.onnx import check as onnx_check
from fairnas.exporters.parity import Parity
from fairnas.exporters.passport.checksums import format_sums, sign
from fairnas.exporters.passport.page import render_passport
from fairnas.exporters.passport.passport import Passport, read_passport
from fairnas.exporters.passport.records import ParityRecord
from fairnas.exporters.verify import failures, require_sound, verify
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from . import small_export as small

HAS_SSH = shutil.which("ssh-keygen") is not None


@pytest.fixture(autouse=True, scope="module")
def each_model_is_run_once() -> Iterator[None]:
    """The same bytes say the same of themselves: a process for each would take minutes."""
    known: dict[tuple[str, Preprocessing], dict[str, Any]] = {}

    def facts_of(path: Path, sha256: str, preprocessing: Preprocessing, seconds: float) -> dict[str, Any]:
        asked = sha256, preprocessing
        if asked not in known:
            known[asked] = model_process.facts_of(path, sha256, preprocessing, seconds)
        return known[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_check, "facts_of", facts_of)
        yield


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HAS_SSH:
        pytest.skip("no ssh-keygen on this machine: apt-get install openssh-client")
    path = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A sound export, signed where this machine can sign. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "export"
    small.small_export(folder, request.getfixturevalue("key") if HAS_SSH else None)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "export"))


def test_a_sound_export_has_nothing_wrong_and_every_check_was_made(whole: Path) -> None:
    findings = verify(whole)
    require_sound(findings)
    made = {(finding.file, finding.what) for finding in findings if finding.outcome == "ok"}
    of_model = ("bytes", "passport", "ONNX", "precision", "preprocessing", "classes", "input", "output", "parameters")
    assert made >= {("model.onnx", what) for what in (*of_model, "run", "answer")}
    assert made >= {("SHA256SUMS", "form"), ("passport.html", "passport")}
    assert made >= {("passport.json", what) for what in ("schema", "cost", "probe")}
    unknown = {(finding.file, finding.what) for finding in findings if finding.outcome == "unknown"}
    assert not HAS_SSH or unknown == {("SHA256SUMS.sig", "signature"), ("SHA256SUMS.sig", "signer")}
    assert [(f.what, f.reason) for f in findings if f.outcome == "skipped" and f.file == "passport.json"] == [
        ("accuracy", "no images were given to measure it again")
    ]


def test_a_flipped_byte_anywhere_is_told_by_the_files_name(
    whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = sorted(path.name for path in whole.iterdir())
    assert len(names) == 4 + HAS_SSH
    copy = Path(shutil.copytree(whole, tmp_path_factory.mktemp("flipped") / "export"))

    @given(name=st.sampled_from(names), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
    def flipped(name: str, place: float, flip: int) -> None:
        path = copy / name
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[int(place * len(content))] ^= flip
        path.write_bytes(damaged)
        try:
            found = failures(verify(copy))
        finally:
            path.write_bytes(content)
        # A digest or a name that is damaged in the sums accuses the file that it belonged to.
        assert found if name == "SHA256SUMS" else name in found

    flipped()
    require_sound(verify(copy))


def _add(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text("more")


def _remove(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def _sums(change: Callable[[str], str]) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        path = folder / "SHA256SUMS"
        path.write_text(change(path.read_text()))

    return write


def _link_elsewhere(folder: Path) -> None:
    """The same bytes, but outside of the folder: whoever owns that place can change them."""
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def _outside(folder: Path) -> str:
    path = folder.parent / "secret"
    path.write_text("s")
    return f"{sha256_file(path)}  ../secret\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_add("surprise.bin"), {"surprise.bin"}),
        (_add(".hidden"), {".hidden"}),
        (_remove("model.onnx"), {"model.onnx"}),
        (_remove("passport.json"), {"passport.json"}),
        (_remove("passport.html"), {"passport.html"}),
        (_remove("SHA256SUMS"), {"SHA256SUMS"}),
        (lambda folder: (folder / "model.onnx").rename(folder / "other.onnx"), {"model.onnx", "other.onnx"}),
        (lambda folder: (folder / "deep").mkdir() or _add("deep/a")(folder), {"deep/a"}),
        (_link_elsewhere, {"model.onnx"}),
        (lambda folder: (folder / "link").symlink_to("/etc"), {"link"}),
        (lambda folder: _sums(lambda text: _outside(folder) + text)(folder), {"SHA256SUMS"}),
        (_sums(lambda text: text + "0" * 64 + "  /etc/passwd\n"), {"SHA256SUMS"}),
        (_sums(lambda text: ""), {"SHA256SUMS"}),
        (_sums(lambda text: "".join(line for line in text.splitlines(True) if "json" not in line)), {"passport.json"}),
    ],
)
def test_added_missing_renamed_and_foreign_files_are_told_by_name(
    folder: Path, change: Callable[[Path], Any], expected: set[str]
) -> None:
    change(folder)
    found = verify(folder)
    # With other checksums, what was signed is something else.
    assert failures(found) - {"SHA256SUMS.sig"} == expected
    with pytest.raises(ExportError, match=min(expected)) as said:
        require_sound(found)
    assert "\n" not in str(said.value)


def _reseal(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """What a forger does who knows the form: change the passport, then page and checksums to fit."""
    content = json.loads((folder / "passport.json").read_text())
    change(content)
    content["signed_by"] = None
    passport: Passport = read_passport(json.dumps(content))
    (folder / "passport.json").write_text(passport.to_json())
    (folder / "passport.html").write_text(render_passport(passport))
    (folder / "SHA256SUMS.sig").unlink(missing_ok=True)
    names = [path.name for path in folder.iterdir() if path.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text(format_sums(folder, names))


def _model(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / "model.onnx")


def _replace_model(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    file = small.exported_file("model.onnx", content).model_dump()
    _reseal(folder, lambda passport: passport["formats"][0].update(files=[file]))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: p["classes"].reverse(), "classes"),
        (lambda p: p["preprocessing"].update(mean=[0.5, 0.5, 0.5]), "preprocessing"),
        (lambda p: p["preprocessing"].update(crop_pct=1.0), "preprocessing"),
        (lambda p: p.update(resolution=64) or p["preprocessing"].update(resolution=64), "input"),
        (lambda p: p["classes"].append("elk") or p.update(num_classes=5), "output"),
        (lambda p: p.update(params=2 * p["params"]), "parameters"),
        (lambda p: p.update(params=p["params"] // 2), "parameters"),
        (lambda p: p["formats"][0].update(format="onnx-fp16"), "precision"),
        (lambda p: p["formats"][0]["files"][0].update(bytes=1), "passport"),
        (lambda p: p["formats"][0]["files"][0].update(sha256="0" * 64), "passport"),
    ],
)
def test_a_passport_that_does_not_fit_its_model_is_found_out(
    folder: Path, change: Callable[[dict[str, Any]], Any], what: str
) -> None:
    """Also where all digests were made to fit."""
    _reseal(folder, change)
    assert ("model.onnx", what) in {(f.file, f.what) for f in verify(folder) if f.outcome == "failed"}


def test_a_resealed_folder_without_a_change_is_sound(folder: Path) -> None:
    """Or the test above would prove nothing."""
    _reseal(folder, lambda passport: None)
    require_sound(verify(folder))


def _without_numbers(model: onnx.ModelProto) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.dims == [len(small.CLASSES)])
    bias.CopyFrom(numpy_helper.from_array(np.full(len(small.CLASSES), np.nan, np.float32), bias.name))


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Convolve"


@pytest.mark.parametrize(
    ("change", "what"), [(_without_numbers, "run"), (_unknown_operator, "ONNX"), (lambda model: None, None)]
)
def test_a_model_that_cannot_be_right_is_found_out(
    folder: Path, change: Callable[[onnx.ModelProto], None], what: str | None
) -> None:
    model = _model(folder)
    change(model)
    _replace_model(folder, model.SerializeToString())
    assert {f.what for f in verify(folder) if f.outcome == "failed"} == ({what} - {None})


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x01" * 9])
def test_what_is_no_model_is_found_out_in_a_line(folder: Path, content: bytes) -> None:
    _replace_model(folder, content)
    wrong = [finding for finding in verify(folder) if finding.outcome == "failed"]
    assert {finding.file for finding in wrong} == {"model.onnx"}
    assert all("\n" not in finding.reason for finding in wrong)


def test_a_page_of_another_passport_is_found_out(folder: Path) -> None:
    page = (folder / "passport.html").read_text()
    _reseal(folder, lambda passport: passport.update(name="another"))
    (folder / "passport.html").write_text(page)
    names = ["model.onnx", "passport.html", "passport.json"]
    (folder / "SHA256SUMS").write_text(format_sums(folder, names))
    assert failures(verify(folder)) == {"passport.html"}


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "schema version None"), ("no JSON", "not valid JSON"), ('{"schema_version": 9}', "update fairnas")],
)
def test_a_passport_that_cannot_be_read_is_told(folder: Path, content: str, said: str) -> None:
    (folder / "passport.json").write_text(content)
    (folder / "SHA256SUMS").write_text(format_sums(folder, ["model.onnx", "passport.html", "passport.json"]))
    wrong = [f for f in verify(folder) if f.outcome == "failed" and f.file == "passport.json"]
    assert len(wrong) == 1
    assert said in wrong[0].reason


def test_signatures_are_asked_for_and_by_whom_they_must_be(folder: Path, key: Path, tmp_path: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    found = next(f for f in verify(folder, allowed_signers=signers) if f.what == "signature")
    assert (found.outcome, found.reason.startswith("by me@example.org, SHA256:")) == ("ok", True)

    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(other)], check=True)
    signature = (folder / "SHA256SUMS.sig").read_bytes()
    (folder / "SHA256SUMS.sig").write_bytes(sign((folder / "SHA256SUMS").read_bytes(), other))
    assert "passport.json says" in _reason(verify(folder), "SHA256SUMS.sig")
    assert "none of the signers" in _reason(verify(folder, allowed_signers=signers), "SHA256SUMS.sig")

    (folder / "SHA256SUMS.sig").unlink()
    assert "is missing" in _reason(verify(folder), "SHA256SUMS.sig")
    (folder / "SHA256SUMS.sig").write_bytes(signature)
    require_sound(verify(folder, allowed_signers=signers))

    _reseal(folder, lambda passport: None)
    assert failures(verify(folder)) == set()  # nobody says that it was ever signed
    assert "signers were named" in _reason(verify(folder, allowed_signers=signers), "SHA256SUMS.sig")


def _reason(findings: list[Finding], name: str) -> str:
    return "; ".join(f.reason for f in findings if f.file == name and f.outcome == "failed")


def test_measuring_again_is_left_to_the_caller_and_waits_for_whole_files(folder: Path) -> None:
    asked: list[str] = []

    def remeasure(passport: Passport, place: Path) -> Iterator[Finding]:
        asked.append(passport.name)
        yield ok("model.onnx", "parity")
        yield failed("model.onnx", "accuracy", f"top-1 of {place.name} is lower")

    findings = verify(folder, remeasure=remeasure)
    assert asked == ["small"]
    assert _reason(findings, "model.onnx") == "top-1 of export is lower"
    _add("surprise.bin")(folder)
    findings = verify(folder, remeasure=remeasure)
    assert asked == ["small"]
    assert "the files must be whole first" in [finding.reason for finding in findings]


def _version_1(folder: Path, **changes: Any) -> None:
    """A passport as the first release wrote it; a change to None leaves a field out."""
    passport = small.small_passport(small.small_onnx()[0], ParityRecord.of(Parity(4, 2e-6, 3e-7, 4e-7, 1.0)))
    kept = ("name", "architecture", "se_ratio", "width", "resolution", "num_classes", "classes", "params", "madds")
    file = small.exported_file("model.onnx", (folder / "model.onnx").read_bytes()).model_dump() | {"format": "onnx"}
    parity = {f"{kind}_difference": 1e-6 for kind in ("max_abs", "mean_abs", "max_relative")}
    content = {
        "schema_version": 1,
        **{key: getattr(passport, key) for key in kept},
        "accuracy": {"pytorch_top1": 0.9, "onnx_top1": 0.9, "images": 100},
        "parity": {"images": 64, **parity, "top1_agreement": 1.0},
        "latency": [{"target": "host", "device": "CPU", "kind": "measured", "source": "here", "latency_ms": 1.0}],
        "files": [file],
        "lineage": {},
        **changes,
    }
    content = {key: value for key, value in content.items() if value is not None}
    (folder / "passport.json").write_text(json.dumps(content))


def test_a_folder_of_schema_version_1_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content, _ = small.small_onnx()
    (tmp_path / "model.onnx").write_bytes(content)
    _version_1(tmp_path)
    findings = verify(tmp_path)
    require_sound(findings)
    assert [f.reason for f in findings if f.outcome == "skipped"] == [
        "schema version 1, from before there were checksums: only its files' bytes are checked",
        "there is none",
    ]
    (tmp_path / "signers").write_text("me ssh-ed25519 AAAA\n")
    assert failures(verify(tmp_path, allowed_signers=tmp_path / "signers")) == {"SHA256SUMS.sig", "signers"}
    (tmp_path / "signers").unlink()
    (tmp_path / "model.onnx").write_bytes(content[:-1] + b"x")
    assert failures(verify(tmp_path)) == {"model.onnx"}
    (tmp_path / "passport.json").write_text('{"schema_version": 1, "files": [3]}')
    assert failures(verify(tmp_path)) == {"passport.json"}


def test_checksums_that_lie_elsewhere_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / "SHA256SUMS").rename(tmp_path / "elsewhere")
    (folder / "SHA256SUMS").symlink_to(tmp_path / "elsewhere")
    assert "SHA256SUMS" in failures(verify(folder))


def test_a_folder_that_is_no_export_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(ExportError, match="is no export"):
        verify(tmp_path)


RTX = b"vtrt" + bytes(4) + (2).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (RTX + (40).to_bytes(8, "little") + bytes(16), "ok"),
        (RTX + (41).to_bytes(8, "little") + bytes(16), "failed"),
        (b"ftrt" + bytes(36), "ok"),
        (b"", "failed"),
        (b"what is this", "skipped"),
    ],
)
def test_engines_are_known_by_their_head(folder: Path, content: bytes, outcome: str) -> None:
    (folder / "model.fp16.engine").write_bytes(content)
    file = small.exported_file("model.fp16.engine", content).model_dump()
    _reseal(folder, lambda passport: passport["formats"][2].update(files=[file]))
    found = next(f for f in verify(folder) if f.what == "engine")
    assert (found.file, found.outcome) == ("model.fp16.engine", outcome)


def test_a_litert_file_is_run_and_its_metadata_read(folder: Path) -> None:
    pytest.importorskip("litert_torch", reason="LiteRT is not installed: pip install 'fairnas[litert]'")
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Deployable("small", network.eval(), small.PREPROCESSING, small.CLASSES)
    (content,) = to_litert(model, LiteRtSettings()).files.values()
    (folder / "model.tflite").write_bytes(content)
    file = small.exported_file("model.tflite", content).model_dump()
    _reseal(folder, lambda passport: passport["formats"][2].update(files=[file]))
    findings = verify(folder)
    require_sound(findings)
    made = {f.what for f in findings if f.file == "model.tflite" and f.outcome == "ok"}
    assert made == {"bytes", "passport", "LiteRT", "preprocessing", "classes", "input", "output", "run"}

    _reseal(folder, lambda passport: passport["classes"].reverse())
    assert {f.what for f in verify(folder) if f.file == "model.tflite" and f.outcome == "failed"} == {"classes"}
    _reseal(folder, lambda p: p.update(resolution=64) or p["preprocessing"].update(resolution=64))
    assert "input" in {f.what for f in verify(folder) if f.file == "model.tflite" and f.outcome == "failed"}
