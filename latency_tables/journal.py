"""The raw record of a measurement: a file that only grows, so that nothing is lost and nothing is measured twice."""

from __future__ import annotations

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any, TextIO

from ..common.errors import UnreadableFile
from ..common.reading import parse_json, read_bytes
from ..common.text import plain
from .device import Conditions, Fingerprint, Sample
from .errors import LatencyError

_BEGINNING = b'{"fingerprint": '  # of every journal: what begins otherwise is somebody's own file
_LARGEST_FILE = 1 << 30
_CHECK = "crc32"


class Journal:
    """Samples as they were taken, one JSON line each, in memory and (given a path) on disk.

    Lines are `{"fingerprint": ...}` first, then `{"models": {name: sha256}}` whenever a measurement begins,
    `{"verified": [names]}`, `{"conditions": ...}` and `{"sample": [model, round, cold_ms, warm_ms, cpu_ms, others,
    slowness]}` (earlier versions wrote no `others`, or no `slowness`). A last line that was cut off is dropped. Samples
    count only for the model that had the same content when they were taken.

    Each line also carries `crc32`, of all lines up to it, so that a changed digit or a lost line is noticed. Files of
    earlier versions have none, and are believed as far as they were written without: what a changed digit there would
    change cannot be known.

    Args:
        path: the file; None keeps everything in memory.
        fingerprint: of the device that measures now.
        models: digest of each model by name.

    Raises:
        LatencyError: the file holds measurements of another device, is damaged, or is no journal; it is left alone.
    """

    def __init__(self, path: Path | None, fingerprint: Fingerprint, models: Mapping[str, str]) -> None:
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.verified: set[str] = set()
        self.conditions: list[Conditions] = []
        self._models: dict[str, str] = {}
        self._check: int | None = None
        self._fingerprint, self._file = fingerprint, None
        if path is not None:
            self._read(path)
            self._file = self._reopen(path)
        if not self._models:
            self._write({"fingerprint": fingerprint})
        self._write({"models": dict(models)})
        self._use_models(models)

    def add(self, sample: Sample) -> None:
        """Keep a sample."""
        self.samples[sample.model].append(sample)
        times = sample.cold_ms, sample.warm_ms, sample.cpu_ms
        self._write({"sample": [sample.model, sample.round, *times, sample.others, sample.slowness]})

    def add_verified(self, names: list[str]) -> None:
        """Keep that these models gave the right answers on the device."""
        self.verified |= set(names)
        self._write({"verified": names})

    def add_conditions(self, conditions: Conditions) -> None:
        """Keep what the device said of itself."""
        if conditions != Conditions():
            self.conditions.append(conditions)
            told = {name: value for name, value in asdict(conditions).items() if value is not None}
            self._write({"conditions": told})

    def check_device(self, fingerprint: Fingerprint) -> None:
        """Refuse to go on with another device.

        Raises:
            LatencyError: the fingerprint is not that of the device that measured; the line says what changed.
        """
        self._compare(self._fingerprint, fingerprint)

    def flush(self) -> None:
        """Hand everything to the operating system: after this, killing the process loses nothing."""
        if self._file:
            self._file.flush()

    def close(self) -> None:
        """Flush and let go of the file."""
        if self._file:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file:
            self._check = _checked(line, self._check)
            self._file.write(json.dumps({**line, _CHECK: f"{self._check:08x}"}) + "\n")

    def _use_models(self, models: Mapping[str, str]) -> None:
        for name, digest in models.items():
            if self._models.get(name, digest) != digest:
                self.samples.pop(name, None)
                self.verified.discard(name)
        self._models |= models

    def _reopen(self, path: Path) -> TextIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8")

    def _read(self, path: Path) -> None:
        if path.is_symlink():
            raise LatencyError(f"{plain(str(path))} is a link: raw samples are not written through one; remove it")
        if not path.exists():
            return
        try:
            content = read_bytes(path, _LARGEST_FILE)
        except UnreadableFile as error:
            raise LatencyError(f"raw samples cannot be read: {error}") from None
        if not content.startswith(_BEGINNING[: len(content)]):
            raise LatencyError(
                f"{plain(str(path))} holds no raw samples of fairnas: it is left as it is; move it away, or name "
                "another place with --out"
            )
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._take(parse_json(line.decode(), "the line"))
            except LatencyError as error:
                raise LatencyError(f"{plain(str(path))}: {error}") from None
            except (ValueError, TypeError, AttributeError, OverflowError):
                raise LatencyError(
                    f"{plain(str(path))}, line {number} is damaged: delete the file to measure again"
                ) from None
        if len(whole) < len(content):
            os.truncate(path, len(whole))

    def _take(self, line: dict[str, Any]) -> None:
        said = line.pop(_CHECK, None)
        if said is not None:
            self._check = _checked(line, self._check)
            if said != f"{self._check:08x}":
                raise ValueError("changed")
        elif self._check is not None:
            raise ValueError("a line without a check after one with it")
        ((kind, value),) = line.items()
        if kind == "fingerprint":
            self._compare(value, self._fingerprint)
        elif kind == "models":
            self._use_models(value)
        elif kind == "verified":
            self.verified |= set(value)
        elif kind == "conditions":
            self.conditions.append(Conditions(**value))
        elif kind == "sample":
            sample = _sound(Sample(*value))
            self.samples[sample.model].append(sample)
        else:
            raise ValueError(f"unknown kind {kind}")

    @staticmethod
    def _compare(before: Fingerprint, now: Fingerprint) -> None:
        if before != now:
            changed = next(key for key in {**before, **now} if before.get(key) != now.get(key))
            raise LatencyError(
                f"measured with {changed} {before.get(changed)!r}, now it is {now.get(changed)!r}: "
                "measurements of different devices are never mixed; choose another folder, or delete the file"
            )


def _checked(line: Mapping[str, Any], before: int | None) -> int:
    """The check of a line and of those before it."""
    return zlib.crc32(json.dumps(line).encode(), before or 0)


def _sound(sample: Sample) -> Sample:
    times = sample.cold_ms, sample.warm_ms, sample.cpu_ms or 0.0, sample.others or 0.0, sample.slowness or 1.0
    if not (isinstance(sample.model, str) and isinstance(sample.round, int) and all(0 <= time < inf for time in times)):
        raise ValueError("no times")
    return sample
