"""A format on its way to be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...exporters import ExportError
from ...exporters.deployable import Exported
from ...exporters.judgement import Judgement
from ...exporters.passport.records import LatencyRecord


class NetworksRefused(ExportError):  # noqa: N818 - said as what it is
    """Some networks can be handed over in no format, or not be opened at all; the others are there.

    Attributes:
        reasons: by the networks' names.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = dict(reasons)


@dataclass(frozen=True)
class Candidate:
    """A format on its way into the folder.

    Attributes:
        exported: None where it could not be made.
        judgement: of it.
        latency: of it.
    """

    exported: Exported | None
    judgement: Judgement
    latency: tuple[LatencyRecord, ...] = ()
