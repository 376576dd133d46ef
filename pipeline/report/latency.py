"""Pairs each exported network's predicted latency with a measured one, and says whether they are of one device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...exporters.pages.formatting import number
from .run_files import as_list


@dataclass(frozen=True, slots=True)
class Comparison:
    """Predicted and measured latency of one network, in ms; a measurement's p90 where it is known."""

    name: str
    predicted_ms: float
    predicted_device: str
    measured_ms: float
    measured_device: str
    p90_ms: float | None

    @property
    def same_device(self) -> bool:
        """Whether the two numbers are of the same device, and so should be equal."""
        return self.predicted_device.strip().lower() == self.measured_device.strip().lower()

    @property
    def error(self) -> float:
        """Prediction over measurement, less one."""
        return self.predicted_ms / self.measured_ms - 1


def formats(passport: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a passport says of each format."""
    return [record for record in as_list(passport.get("formats")) if isinstance(record, dict)]


def leading(passport: Mapping[str, Any]) -> dict[str, Any]:
    """The format that stands for the network where there is room for one: the first that passed its check."""
    found = formats(passport)
    return next((record for record in found if record.get("status") == "written"), found[0] if found else {})


def entries(record: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """A format's latencies of one kind, `predicted` or `measured`, that hold a number."""
    listed = [entry for entry in as_list(record.get("latency")) if isinstance(entry, dict)]
    return [e for e in listed if e.get("kind") == kind and (number(e.get("latency_ms")) or 0) > 0]


def prediction(passport: Mapping[str, Any], target: str) -> dict[str, Any] | None:
    """The predicted latency for the run's target, or the first one for any."""
    return _for_target([entry for record in formats(passport) for entry in entries(record, "predicted")], target)


def compare(name: str, passport: Mapping[str, Any], target: str) -> Comparison | None:
    """The prediction beside a measurement of the same format, one of the same device where there is any.

    None where no format has both.
    """
    pairs: list[Comparison] = []
    for record in formats(passport):
        predicted = _for_target(entries(record, "predicted"), target)
        if predicted is None:
            continue
        pairs += [
            Comparison(
                name,
                float(predicted["latency_ms"]),
                str(predicted.get("device") or predicted.get("target") or "device"),
                float(measured["latency_ms"]),
                str(measured.get("device") or measured.get("target") or "host"),
                number(measured.get("p90_ms")),
            )
            for measured in entries(record, "measured")
        ]
    return min(pairs, key=lambda pair: not pair.same_device, default=None)


def _for_target(predicted: list[dict[str, Any]], target: str) -> dict[str, Any] | None:
    return next((entry for entry in predicted if entry.get("target") == target), predicted[0] if predicted else None)
