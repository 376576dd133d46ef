"""Does a model file say the same as its passport: preprocessing, labels, shapes, size, answers?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...common.errors import UnreadableFile
from ...common.reading import parse_json
from ..passport.folder import digest_of_images
from ..passport.passport import PASSPORT, Passport
from ..passport.records import AnswerRecord, ExportedFile, FileFacts, FormatRecord
from .findings import Finding, failed, ok, skipped
from .model_facts import RECIPE, probe_images
from .model_process import facts_of

ENGINE_SUFFIXES = (".engine", ".plan")
ENGINE_HEADS = (b"ftrt", b"ptrt")
"""How TensorRT's serialised engines begin."""

LARGEST_PROBE = 4096
"""Side of the largest images that are made to compare their digest, in pixels: a passport's word takes no memory."""

RTX_HEAD = b"vtrt" + bytes(4) + (2).to_bytes(8, "little")
"""How those of TensorRT-RTX 1.1 begin; then comes their own size, in 8 bytes."""

PARAMS_TOLERANCE = 0.2
"""Of passports that do not say what the file itself holds. Batch normalisation is folded into its convolution, which
leaves one of its two parameters per channel; quantised models have scales besides. Neither comes near a fifth of a
network."""

ANSWER_TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
"""Largest difference from the stated answer, as a share of the largest logit. Processors round differently, and in 8
bits some saturate where others do not."""


def check_model(
    path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float, *, is_model: bool
) -> Iterator[Finding]:
    """Check what is in one file whose bytes are the exported ones.

    Args:
        path: of the file.
        file: as the passport has it; its path is what findings call it.
        record: of its format.
        passport: what it must agree with.
        seconds: how long running it may take.
        is_model: whether it is the format's first file, or one that comes with it.
    """
    if is_model and path.suffix in (".onnx", ".tflite"):
        yield from _check_run(path, file, record, passport, seconds)
    elif is_model and path.suffix in ENGINE_SUFFIXES:
        yield _check_engine(path, file.path)
    else:
        yield skipped(file.path, "content", f"nothing but its bytes is checked of this file of {record.format}")


def check_probe(passport: Passport) -> Iterator[Finding]:
    """Whether the images that files were asked about can be made again."""
    if passport.probe is None:
        return
    if passport.probe.recipe != RECIPE:
        yield skipped(PASSPORT, "probe", f"this version of fairnas cannot make its images ({passport.probe.recipe})")
        return
    if passport.resolution > LARGEST_PROBE:
        reason = f"images of {passport.resolution} px are not made again: the largest are {LARGEST_PROBE} px"
        yield failed(PASSPORT, "probe", reason)
        return
    images = probe_images(passport.resolution, passport.preprocessing.mean, passport.preprocessing.std)
    if digest_of_images(images) == passport.probe.sha256:
        yield ok(PASSPORT, "probe")
    else:
        yield failed(PASSPORT, "probe", "its digest is not that of the images of its recipe, size and preprocessing")


def _check_run(
    path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
) -> Iterator[Finding]:
    name, what = file.path, "LiteRT" if path.suffix == ".tflite" else "ONNX"
    facts = facts_of(path, file.sha256, passport.preprocessing, seconds)
    if "missing" in facts:
        yield skipped(name, what, facts["missing"])
        return
    if "problem" in facts:
        yield failed(name, what, facts["problem"])
        return
    yield ok(name, what)
    precision = record.format.partition("-")[2] or "fp32"
    if facts["precision"] is not None:
        yield _compared(name, "precision", facts["precision"], precision)
    yield from _check_metadata(name, facts["metadata"], passport)
    side, channels = passport.resolution, len(passport.preprocessing.mean)
    last = what == "LiteRT" and facts["inputs"] == [[1, side, side, channels]]  # which may take channels last
    yield _fits(name, "input", facts["inputs"], [None, side, side, channels] if last else [None, channels, side, side])
    yield _fits(name, "output", facts["outputs"], [None, passport.num_classes])
    if record.holds is not None:
        yield _check_holds(name, facts, record.holds, passport)
    elif what == "ONNX":
        yield _check_params(name, facts["numbers"], passport.params)
    yield _check_answer(name, facts["answer"], record, passport)
    if record.holds is not None and record.holds.answer is not None and facts["answer"].get("finite"):
        tolerance = ANSWER_TOLERANCE.get(precision, max(ANSWER_TOLERANCE.values()))
        yield _check_values(name, facts["answer"], record.holds.answer, passport, tolerance)


def _check_engine(path: Path, name: str) -> Finding:
    with path.open("rb") as file:
        head = file.read(24)
    if not head:
        return failed(name, "engine", "it is empty")
    if head[:4] in ENGINE_HEADS:
        return ok(name, "engine")
    if head[:16] != RTX_HEAD:
        return skipped(name, "engine", f"it begins with {head[:4]!r}, of which nothing is known; its bytes are checked")
    stated = int.from_bytes(head[16:24], "little")
    if stated != path.stat().st_size:
        return failed(name, "engine", f"it has {path.stat().st_size:,} bytes, and says {stated:,} of itself")
    return ok(name, "engine")


def _check_metadata(name: str, metadata: Mapping[str, str], passport: Passport) -> Iterator[Finding]:
    yield _compared(name, "preprocessing", _json(metadata.get("preprocessing")), _preprocessing(passport))
    yield _compared(name, "classes", _json(metadata.get("labels")), passport.classes)


def _check_holds(name: str, facts: Mapping[str, Any], stated: FileFacts, passport: Passport) -> Finding:
    what = "parameters"
    for called, number, of_network in (
        ("parameters", passport.params, stated.network_params),
        ("multiply-adds", passport.madds, stated.network_madds),
    ):
        if number != of_network:
            return failed(
                name, what, f"it was made from a network of {of_network:,} {called}, {PASSPORT} says {number:,}"
            )
    for called in ("numbers", "tensors", "madds", "inputs", "outputs"):
        found, wanted = facts[called], getattr(stated, called)
        # Sizes that one version of ONNX infers, another may leave open.
        if found != wanted and not (called == "madds" and None in (found, wanted)):
            return failed(name, what, f"it has {found} ({called}), the passport says {wanted}")
    return ok(name, what)


def _check_answer(name: str, answer: Mapping[str, Any], record: FormatRecord, passport: Passport) -> Finding:
    if "problem" in answer:
        return failed(name, "run", f"it cannot be run: {answer['problem']}")
    if len(answer["shape"]) != 2 or answer["shape"][1] != passport.num_classes:
        return failed(name, "run", f"it answers {answer['shape']}, where {passport.num_classes} logits were expected")
    if answer["finite"]:
        return ok(name, "run")
    stated = record.holds.answer if record.holds else None
    if record.status == "forced" and stated is not None and not stated.finite:
        return skipped(name, "run", "it answers an image with what are no numbers, as its passport says")
    return failed(name, "run", "it answers an image with what are no numbers")


def _check_values(
    name: str, answer: Mapping[str, Any], stated: AnswerRecord, passport: Passport, tolerance: float
) -> Finding:
    """Whether it answers the probe as it did when it was exported."""
    what = "answer"
    if not stated.steady:
        return skipped(name, what, "it answered differently each time when it was exported")
    if passport.probe is None or passport.probe.recipe != RECIPE:
        return skipped(name, what, "the image that it was asked about is not known here")
    if stated.shape != answer["shape"] or stated.finite != answer["finite"]:
        return failed(name, what, f"it answers {answer['shape']}, and answered {stated.shape} when it was exported")
    allowed = tolerance * max(stated.scale, 1e-6)
    differences = [abs(found - value) for found, value in _pairs(answer["values"], stated.values)]
    if len(differences) != sum(map(len, answer["values"])) or max(differences, default=0.0) > allowed:
        return failed(name, what, "it does not answer the probe image as the passport says")
    return ok(name, what)


def _pairs(found: Sequence[Sequence[float]], stated: Sequence[Sequence[float]]) -> Iterator[tuple[float, float]]:
    for row, other in zip(found, stated, strict=False):
        yield from zip(row, other, strict=False)


def _check_params(name: str, counted: int, stated: int) -> Finding:
    if abs(counted - stated) <= PARAMS_TOLERANCE * stated:
        return ok(name, "parameters")
    return failed(name, "parameters", f"it holds {counted:,} of them, the passport says {stated:,}")


def _fits(name: str, what: str, found: Sequence[Sequence[int | None]], stated: Sequence[int | None]) -> Finding:
    """Whether there is one tensor, none of whose sizes contradicts; open ones fit any."""
    fits = len(found) == 1 and len(found[0]) == len(stated)
    if fits and all(None in (size, wanted) or size == wanted for size, wanted in zip(found[0], stated, strict=True)):
        return ok(name, what)
    return failed(name, what, f"it says {list(found)}, the passport {[list(stated)]}")


def _preprocessing(passport: Passport) -> Any:
    """As JSON holds it, where tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(passport.preprocessing)))


def _json(text: str | None) -> Any:
    try:
        return parse_json(text or "null", "it")
    except UnreadableFile:
        return text


def _compared(name: str, what: str, found: Any, stated: Any) -> Finding:
    if found == stated:
        return ok(name, what)
    return failed(name, what, f"it says {str(found)[:300]}, the passport {str(stated)[:300]}")
