"""Thirty-odd ways to tamper with an export folder: each is told in time, by the name of the file that is wrong.

A forger without the key can renew every digest. What no file contradicts then, a demanded signature does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fairnas.exporters import ExportError, Preprocessing
from fairnas.exporters.checks import model_process
from fairnas.exporters.checks import models as verify_models
from fairnas.exporters.checks.cost import check_cost
from fairnas.exporters.checks.expectations import Expected, parse_expected
from fairnas.exporters.checks.findings import Finding
from fairnas.exporters.checks.model_facts import RECIPE
from fairnas.exporters.onnx import check as onnx_check
from fairnas.exporters.passport.checksums import format_sums, sign
from fairnas.exporters.passport.page import render_passport
from fairnas.exporters.passport.passport import read_passport
from fairnas.exporters.passport.records import ParityRecord, ProbeRecord
from fairnas.exporters.verify import failed_names, failures, require_sound, verify
from onnx import TensorProto, helper, numpy_helper

from . import small_export as small

SECONDS = 60.0  # that a check of a small folder may take on a busy machine
ESCAPE = "x\x1b[2Jy"

Change = Callable[[Path], Any]

needs_ssh = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine: apt-get install openssh-client"
)


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
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not signed: whoever tampers needs no key. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "export"
    small.small_export(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "export"))


def renew(folder: Path) -> None:
    """Checksums of whatever lies there."""
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    (folder / "SHA256SUMS").write_text(format_sums(folder, names))


def reseal(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the passport, then page and checksums to fit."""
    content = json.loads((folder / "passport.json").read_text())
    change(content)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / "passport.json").write_text(text)
    with suppress(ExportError):  # no page can be made of some
        (folder / "passport.html").write_text(render_passport(read_passport(text), _sha256(text.encode())))
    renew(folder)


def _sha256(content: bytes) -> str:
    return small.exported_file("x", content).sha256


def _passport(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda folder: reseal(folder, change)


def _model(change: Callable[[onnx.ModelProto], Any]) -> Change:
    """Another model under the old passport, whose digests are renewed."""

    def write(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        change(model)
        content = model.SerializeToString()
        (folder / "model.onnx").write_bytes(content)
        file = small.exported_file("model.onnx", content).model_dump()
        reseal(folder, lambda passport: passport["formats"][0].update(files=[file]))

    return write


def _page(old: str, new: str) -> Change:
    def write(folder: Path) -> None:
        text = (folder / "passport.html").read_text()
        assert old in text
        (folder / "passport.html").write_text(text.replace(old, new, 1))
        renew(folder)

    return write


def _flipped(name: str) -> Change:
    def write(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return write


def _replaced_by(name: str, make: Callable[[Path], Any]) -> Change:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return write


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing


def _weights(model: onnx.ModelProto) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [len(small.CLASSES)])


def _no_numbers(model: onnx.ModelProto) -> None:
    bias = _weights(model)
    bias.CopyFrom(numpy_helper.from_array(np.full(len(small.CLASSES), np.nan, np.float32), bias.name))


def _other_weights(model: onnx.ModelProto) -> None:
    """As a back door would: the same shapes, other answers."""
    bias = _weights(model)
    bias.CopyFrom(numpy_helper.from_array(np.arange(len(small.CLASSES), dtype=np.float32) * 100, bias.name))


def _more_weights(model: onnx.ModelProto) -> None:
    """A secret that travels along."""
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1000, np.float32), "more"))


def _outside(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = _weights(model)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    return change


def _endless(model: onnx.ModelProto) -> None:
    """Adds to the logits what a loop counts, and the loop goes on for as long as int64 can count."""
    condition = helper.make_tensor_value_info("keep", TensorProto.BOOL, [])
    counted = helper.make_tensor_value_info("counted", TensorProto.FLOAT, [1])
    body = helper.make_graph(
        [helper.make_node("Identity", ["keep"], ["keep_out"]), helper.make_node("Abs", ["counted"], ["counted_out"])],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []), condition, counted],
        [
            helper.make_tensor_value_info("keep_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("counted_out", TensorProto.FLOAT, [1]),
        ],
    )
    last = model.graph.node[-1]
    assert last.output[0] == "logits"
    last.output[0] = "before"
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(2**62, np.int64), "turns"),
            numpy_helper.from_array(np.asarray(True), "true"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        ]
    )
    model.graph.node.append(helper.make_node("Loop", ["turns", "true", "zero"], ["looped"], body=body))
    model.graph.node.append(helper.make_node("Add", ["before", "looped"], ["logits"]))


def _version_1(folder: Path) -> None:
    """The version is edited down, and what such a version had not is removed."""
    content = json.loads((folder / "passport.json").read_text())
    content["schema_version"] = 1
    content["files"] = [content["formats"][0]["files"][0] | {"format": "onnx"}]
    content["accuracy"] = {"pytorch_top1": 1.0, "onnx_top1": 1.0, "images": 100}
    (folder / "passport.json").write_text(json.dumps(content))
    (folder / "SHA256SUMS").unlink()
    (folder / "passport.html").unlink()


def _only_files(folder: Path) -> None:
    """As little as an earlier check of version 1 looked at."""
    _version_1(folder)
    content = json.loads((folder / "passport.json").read_text())
    (folder / "passport.json").write_text(
        json.dumps({key: content[key] for key in ("schema_version", "name", "files")})
    )


def _records(passport: dict[str, Any]) -> dict[str, Any]:
    return passport["formats"][0]


JSON, PAGE, MODEL, SUMS = "passport.json", "passport.html", "model.onnx", "SHA256SUMS"

TAMPERINGS: dict[str, tuple[Change, set[str]]] = {
    # What lies there.
    "a flipped model": (_flipped(MODEL), {MODEL}),
    "a flipped passport": (_flipped(JSON), {JSON}),
    "a flipped page": (_flipped(PAGE), {PAGE}),
    "an added file": (lambda f: (f / "more.bin").write_text("more"), {"more.bin"}),
    "an added folder": (lambda f: (f / "deep" / "er").mkdir(parents=True), {"deep/er"}),
    "a name with an escape sequence": (lambda f: (f / ESCAPE).write_text("more"), {ESCAPE}),
    "a name that is not UTF-8": (lambda f: (f / os.fsdecode(b"a\xff")).write_text("more"), {os.fsdecode(b"a\xff")}),
    "a file too many in checksums and folder": (
        lambda f: [(f / "more.bin").write_text("more"), renew(f)],
        {"more.bin"},
    ),
    "two thousand files more": (lambda f: [(f / f"{n:04}").touch() for n in range(2000)], {"0000", "."}),
    "a removed model": (lambda f: (f / MODEL).unlink(), {MODEL}),
    "a renamed model": (lambda f: (f / MODEL).rename(f / "other.onnx"), {MODEL, "other.onnx"}),
    "model and page exchanged": (
        lambda f: [(f / MODEL).rename(f / "x"), (f / PAGE).rename(f / MODEL), (f / "x").rename(f / PAGE)],
        {MODEL, PAGE},
    ),
    # What is no file, or no end.
    "the model as a link": (
        lambda f: [(f / MODEL).rename(f.parent / "m"), (f / MODEL).symlink_to(f.parent / "m")],
        {MODEL},
    ),
    "the passport as a link": (
        lambda f: [(f / JSON).rename(f.parent / "p"), (f / JSON).symlink_to(f.parent / "p")],
        {JSON},
    ),
    "an added link": (lambda f: (f / "link").symlink_to("/etc"), {"link"}),
    "the model as a pipe": (_replaced_by(MODEL, os.mkfifo), {MODEL}),
    "the passport as a pipe": (_replaced_by(JSON, os.mkfifo), {JSON}),
    "the page as a pipe": (_replaced_by(PAGE, os.mkfifo), {PAGE}),
    "the checksums as a pipe": (_replaced_by(SUMS, os.mkfifo), {SUMS}),
    "a signature that is a pipe": (lambda f: os.mkfifo(f / "SHA256SUMS.sig"), {"SHA256SUMS.sig"}),
    "an added pipe": (lambda f: os.mkfifo(f / "pipe"), {"pipe"}),
    "huge checksums": (lambda f: _huge(f / SUMS), {SUMS}),
    "a huge passport": (lambda f: _huge(f / JSON), {JSON}),
    "a huge page": (lambda f: _huge(f / PAGE), {PAGE}),
    "a huge model": (lambda f: _huge(f / MODEL), {MODEL}),
    "a huge signature": (lambda f: _huge(f / "SHA256SUMS.sig"), {"SHA256SUMS.sig"}),
    # What the passport says, with every digest renewed.
    "other parameters": (_passport(lambda p: p.update(params=p["params"] + 1)), {JSON, MODEL}),
    "other multiply-adds": (_passport(lambda p: p.update(madds=p["madds"] - 1)), {JSON, MODEL}),
    "another width": (_passport(lambda p: p.update(width=0.5)), {JSON}),
    "a width of 1e308": (_passport(lambda p: p.update(width=1e308)), {JSON}),
    "a width of 0": (_passport(lambda p: p.update(width=0)), {JSON}),
    "a width below 0": (_passport(lambda p: p.update(width=-1)), {JSON}),
    "another architecture": (_passport(lambda p: p.update(architecture=str(small.OTHER_ARCHITECTURE))), {JSON}),
    "classes in another order": (_passport(lambda p: p["classes"].reverse()), {MODEL}),
    "another preprocessing": (_passport(lambda p: p["preprocessing"].update(mean=[0.5, 0.5, 0.5])), {JSON, MODEL}),
    "another precision": (_passport(lambda p: _records(p).update(format="onnx-int8")), {JSON}),
    "a signer who did not sign": (_passport(lambda p: p.update(signed_by="SHA256:abc")), {"SHA256SUMS.sig"}),
    "what the file holds": (_passport(lambda p: _records(p)["holds"].update(numbers=7)), {MODEL}),
    "what the file answers": (_passport(lambda p: _records(p)["holds"]["answer"]["values"][0].reverse()), {MODEL}),
    "another probe": (_passport(lambda p: p["probe"].update(sha256="0" * 64)), {JSON}),
    "a field twice": (
        lambda f: [(f / JSON).write_text((f / JSON).read_text().replace("{", '{"name": "x",', 1)), renew(f)],
        {JSON},
    ),
    "NaN": (_passport(lambda p: p["lineage"].update(share=float("nan"))), {JSON}),
    "a list without an end": (lambda f: [(f / JSON).write_text("[" * 100_000), renew(f)], {JSON}),
    # Versions.
    "version 1": (_version_1, {JSON}),
    "version 1, files alone": (_only_files, {JSON}),
    "version 1 with checksums": (_passport(lambda p: p.update(schema_version=1)), {JSON}),
    "version 3": (_passport(lambda p: p.update(schema_version=3)), {JSON}),
    # The page.
    "another accuracy on the page": (_page("93.12%", "99.12%"), {PAGE}),
    "a latency of the page exchanged": (_page("1.21 ms", "1.31 ms"), {PAGE}),
    "a word on the page": (_page("Not signed", "Signed"), {PAGE}),
    "a script on the page": (_page("</main>", "<script>1</script></main>"), {PAGE}),
    "a style that hides": (_page("</style>", "main { display: none }</style>"), {PAGE}),
    # The model, with every digest renewed.
    "weights that are no numbers": (_model(_no_numbers), {MODEL}),
    "other weights": (_model(_other_weights), {MODEL}),
    "more weights": (_model(_more_weights), {MODEL}),
    "weights in a file elsewhere": (_model(_outside("../../etc/passwd")), {MODEL}),
    "weights in a file of the folder": (_model(_outside("passport.json")), {MODEL}),
    "an operator that is none": (_model(lambda model: setattr(model.graph.node[0], "op_type", "Convolve")), {MODEL}),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_whoever_tampers_is_told_by_the_files_name(folder: Path, name: str) -> None:
    change, wrong = TAMPERINGS[name]
    change(folder)
    start = time.monotonic()
    findings = verify(folder)
    assert time.monotonic() - start < SECONDS
    named = failures(findings)
    assert wrong <= named if "." in wrong else named == wrong
    assert all(finding.reason.isprintable() for finding in findings)
    assert failed_names(findings).isprintable()
    with pytest.raises(ExportError) as said:
        require_sound(findings)
    assert str(said.value).isprintable()


def test_what_is_left_alone_is_sound(folder: Path) -> None:
    """Or the test above would prove nothing: also with all that a forger does, but for the forging."""
    reseal(folder, lambda passport: None)
    _model(lambda model: None)(folder)
    require_sound(verify(folder))


def test_an_endless_loop_ends(folder: Path) -> None:
    _model(_endless)(folder)
    start = time.monotonic()
    (finding,) = [finding for finding in verify(folder, seconds=4) if finding.outcome == "failed"]
    assert finding.file == "model.onnx"
    assert "did not answer within 4 s" in finding.reason
    assert time.monotonic() - start < SECONDS


def test_a_crash_of_what_runs_it_is_a_line(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "crash.py"
    script.write_text("import os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setattr(model_process, "_SCRIPT", script)
    facts = model_process.facts_of(folder / "model.onnx", "", small.PREPROCESSING, 20)
    assert facts.keys() == {"problem"}
    assert "signal 11" in facts["problem"]


def test_memory_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of 8000 x 8000 pixels would take several times the gigabyte that is given here."""
    monkeypatch.setattr(model_process, "_MEMORY_BYTES", 1 << 30)
    huge = Preprocessing(8000, 0.875, small.PREPROCESSING.mean, small.PREPROCESSING.std)
    path = folder / "model.onnx"
    facts = model_process.facts_of(path, _sha256(path.read_bytes()), huge, 20)
    assert "memory" in facts["problem"]


def test_a_model_that_is_exchanged_while_it_is_looked_at_is_not_believed(folder: Path) -> None:
    facts = model_process.facts_of(folder / "model.onnx", "0" * 64, small.PREPROCESSING, 20)
    assert "changed" in facts["problem"]


# ---- Signatures and expectations ---------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and the file of those who may sign."""
    key = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    signers = key.with_name("signers")
    signers.write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    return key, signers


@pytest.fixture(scope="module")
def signed(keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "export"
    small.small_export(folder, keys[0])
    return folder


def _found(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


@needs_ssh
def test_a_signer_whom_nobody_knows_is_not_called_ok(signed: Path, keys: tuple[Path, Path]) -> None:
    found = _found(verify(signed), "signature")
    assert found.outcome == "unknown"
    assert found.reason.startswith("signed by SHA256:")
    assert "not checked against anybody" in found.reason
    assert _found(verify(signed, allowed_signers=keys[1]), "signature").outcome == "ok"


@needs_ssh
@pytest.mark.parametrize("name", ["accuracy", "parity", "latency", "page", "version 1"])
def test_what_no_file_contradicts_a_demanded_signature_does(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(signed, tmp_path / "export"))
    changes: dict[str, Change] = {
        "accuracy": _passport(lambda p: _records(p)["accuracy"].update(exported_top1=0.99)),
        "parity": _passport(lambda p: _records(p)["parity"].update(max_abs_difference=0.0)),
        "latency": _passport(lambda p: _records(p)["latency"][1].update(latency_ms=0.1)),
        "page": _page("93.12%", "99.12%"),
        "version 1": _version_1,
    }
    changes[name](folder)
    assert "SHA256SUMS.sig" in failures(verify(folder, allowed_signers=keys[1]))
    # Signed again by somebody else, who names himself: sound, but nobody's whom the user knows.
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(other)], check=True)
    if (folder / "SHA256SUMS").exists():
        (folder / "SHA256SUMS.sig").write_bytes(sign((folder / "SHA256SUMS").read_bytes(), other))
        assert "SHA256SUMS.sig" in failures(verify(folder, allowed_signers=keys[1]))


@needs_ssh
@pytest.mark.parametrize(
    ("demands", "failing"),
    [
        (["small"], None),
        ([str(small.ARCHITECTURE)], None),
        (["large"], "expected name"),
        (["newer-than:2026-01-01"], None),
        (["newer-than:2999-01-01"], "expected date"),
        (["newer-than:2999-01-01T00:00:00+01:00"], "expected date"),
        (["sha256:" + "0" * 64], "expected digest"),
        (["small", "newer-than:2026-01-01T00:00:00Z"], None),
    ],
)
def test_an_older_export_in_place_of_the_expected_one_is_told(
    signed: Path, keys: tuple[Path, Path], demands: list[str], failing: str | None
) -> None:
    findings = verify(signed, allowed_signers=keys[1], expected=parse_expected(demands))
    assert {finding.what for finding in findings if finding.outcome == "failed"} == {failing} - {None}


@needs_ssh
def test_the_digest_of_checksums_or_passport_names_one_export(signed: Path) -> None:
    for name in ("SHA256SUMS", "passport.json"):
        digest = _sha256((signed / name).read_bytes())
        assert not failures(verify(signed, expected=parse_expected([f"sha256:{digest.upper()}"])))


@needs_ssh
def test_a_date_that_anybody_may_have_written_proves_nothing(signed: Path, whole: Path) -> None:
    asked = parse_expected(["newer-than:2026-01-01"])
    assert "--allowed-signers" in _found(verify(signed, expected=asked), "expected date").reason
    assert "does not say when" in _found(verify(whole, expected=asked), "expected date").reason


def test_nothing_can_be_expected_of_what_cannot_be_read(folder: Path) -> None:
    _flipped("passport.json")(folder)
    found = verify(folder, expected=Expected(name="small"))
    assert _found(found, "expected name").outcome == "failed"


@pytest.mark.parametrize("text", ["sha256:12", "sha256:", "newer-than:soon", "newer-than:", "newer-than:2026-13-01"])
def test_a_demand_that_is_none_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(ExportError, match=rf"'{text.removeprefix('newer-than:')}' is no "):
        parse_expected([text])
    with pytest.raises(ExportError, match="a second name"):
        parse_expected(["a", "b"])


def test_a_passports_word_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of its size would be made to compare their digest."""
    content, _ = small.small_onnx()
    record = ParityRecord(
        images=1, max_abs_difference=0, mean_abs_difference=0, max_relative_difference=0, top1_agreement=1
    )
    probe = ProbeRecord(recipe=RECIPE, sha256="0" * 64)
    huge = small.small_passport(content, record).model_copy(update={"resolution": 60_000, "probe": probe})
    monkeypatch.setattr(verify_models, "probe_images", lambda *_: pytest.fail("they are made"))
    (finding,) = verify_models.check_probe(huge)
    assert (finding.outcome, finding.what) == ("failed", "probe")
    assert "60000 px" in finding.reason


@pytest.mark.parametrize("width", [1e308, float("inf"), float("nan")])
def test_a_cost_that_cannot_be_computed_is_a_finding(width: float) -> None:
    content, _ = small.small_onnx()
    record = ParityRecord(
        images=1, max_abs_difference=0, mean_abs_difference=0, max_relative_difference=0, top1_agreement=1
    )
    (finding,) = check_cost(small.small_passport(content, record).model_copy(update={"width": width}))
    assert (finding.outcome, finding.what) == ("failed", "cost")
