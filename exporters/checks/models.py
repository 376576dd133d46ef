"""The models of an export folder against its passport, each as its format checks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..formats import format_of_file
from ..passport.folder import digest_of_images
from ..passport.passport import PASSPORT, Passport
from ..passport.records import ExportedFile, FormatRecord
from .findings import Finding, failed, ok, skipped
from .model_facts import RECIPE, probe_images

LARGEST_PROBE = 4096
"""Side of the largest images that are made to compare their digest, in pixels: a passport's word takes no memory."""


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
    form = format_of_file(record.format, path.suffix) if is_model else None
    if form is None:
        yield skipped(file.path, "content", f"nothing but its bytes is checked of this file of {record.format}")
    else:
        yield from form.check(path, file, record, passport, seconds)


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
