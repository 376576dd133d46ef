"""`fairnas verify --data`: accuracy of exported files, measured again on the user's images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...exporters.checks.findings import Finding, failed, ok, skipped
from ...exporters.formats import format_of_file
from ...exporters.judgement import accuracy
from ...exporters.passport.passport import Passport
from ...exporters.passport.records import FormatRecord
from ..data import Dataset, eval_batches
from .subject import EVAL_BATCH

# Another processor rounds otherwise, which can turn the answer to an image that was undecided.
TOLERANCE = 0.005


def remeasured(passport: Passport, folder: Path, dataset: Dataset) -> Iterator[Finding]:
    """Compare the top-1 of every file that can answer once more (of ours, ONNX) with what its passport says.

    Args:
        passport: of the folder.
        folder: whose files are whole.
        dataset: the images that the passport speaks of; others are refused.
    """
    if passport.lineage.get("dataset_digest") != dataset.digest:
        yield failed("passport.json", "images", f"{dataset.name} is not the data set that the passport speaks of")
        return
    images = dataset.val.normalised(passport.preprocessing.mean, passport.preprocessing.std)
    for record in passport.formats:
        if not record.files:
            continue
        path = folder / record.files[0].path
        file, form = record.files[0].path, format_of_file(record.format, path.suffix)
        run = form.answers(path.read_bytes()) if record.accuracy is not None and form is not None else None
        if run is None:
            yield skipped(file, "accuracy", "none is stated" if record.accuracy is None else "only ONNX is run again")
            continue
        found = accuracy(run, eval_batches(images, batch_size=EVAL_BATCH, resolution=passport.resolution))
        yield _compared(record, file, found)


def _compared(record: FormatRecord, file: str, found: float) -> Finding:
    assert record.accuracy is not None
    stated = record.accuracy.exported_top1
    words = f"top-1 {found:.2%}, stated {stated:.2%}"
    if abs(found - stated) > TOLERANCE:
        return failed(file, "accuracy", words)
    return ok(file, "accuracy")
