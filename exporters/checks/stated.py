"""Does a model file say the same as its passport: preprocessing, labels, shapes, size, answers?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...common.errors import UnreadableFile
from ...common.reading import parse_json
from ..format import Format
from ..passport.passport import PASSPORT, Passport
from ..passport.records import AnswerRecord, FileFacts, FormatRecord
from .findings import Finding, failed, ok, skipped
from .model_facts import RECIPE

PARAMS_TOLERANCE = 0.2
"""Of passports that do not say what the file itself holds. Batch normalisation is folded into its convolution, which
leaves one of its two parameters per channel; quantised models have scales besides. Neither comes near a fifth of a
network."""

ANSWER_TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
"""Largest difference from the stated answer, as a share of the largest logit. Processors round differently, and in 8
bits some saturate where others do not."""


def check_facts(
    form: Format,
    what: str,
    facts: Mapping[str, Any],
    name: str,
    record: FormatRecord,
    passport: Passport,
    taken: Sequence[int | None],
    *,
    counts_parameters: bool = False,
) -> Iterator[Finding]:
    """Compare what a model file tells of itself with what its passport says.

    Args:
        form: that it was checked as.
        what: it is, in a word for people.
        facts: of the file, as `model_facts` gives them.
        name: what findings call it.
        record: of its format.
        passport: of its folder.
        taken: shape of its images, None for a size that is open.
        counts_parameters: whether the network's parameters are all that it holds, nearly: they are counted where the
            passport does not say what the file holds.
    """
    if "missing" in facts:
        yield skipped(name, what, facts["missing"])
        return
    if "problem" in facts:
        yield failed(name, what, facts["problem"])
        return
    yield ok(name, what)
    precision = form.precision if record.format == form.name else record.format
    if facts["precision"] is not None:
        yield _compared(name, "precision", facts["precision"], precision)
    yield from _check_metadata(name, facts["metadata"], passport)
    yield _fits(name, "input", facts["inputs"], taken)
    yield _fits(name, "output", facts["outputs"], [None, passport.num_classes])
    if record.holds is not None:
        yield _check_holds(name, facts, record.holds, passport)
    elif counts_parameters:
        yield _check_params(name, facts["numbers"], passport.params)
    yield _check_answer(name, facts["answer"], record, passport)
    if record.holds is not None and record.holds.answer is not None and facts["answer"].get("finite"):
        tolerance = ANSWER_TOLERANCE.get(precision, max(ANSWER_TOLERANCE.values()))
        yield _check_values(name, facts["answer"], record.holds.answer, passport, tolerance)


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
