"""Does an ONNX file say the same as its passport?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..checks.findings import Finding
from ..checks.model_process import facts_of
from ..checks.stated import check_facts
from ..format import Format
from ..passport.passport import Passport
from ..passport.records import ExportedFile, FormatRecord


def check_onnx(
    form: Format, path: Path, file: ExportedFile, record: FormatRecord, passport: Passport, seconds: float
) -> Iterator[Finding]:
    """See `Format.check`."""
    facts = facts_of(path, file.sha256, passport.preprocessing, seconds)
    side, channels = passport.resolution, len(passport.preprocessing.mean)
    taken = [None, channels, side, side]
    yield from check_facts(form, "ONNX", facts, file.path, record, passport, taken, counts_parameters=True)
