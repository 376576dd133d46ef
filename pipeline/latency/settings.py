"""Settings of latency: how a device is measured, or which table is used instead."""

from __future__ import annotations

from pydantic import Field

from ...common.kinds import Switch, Text, Whole
from ...common.settings import Section


class LatencyConfig(Section):
    """How blocks are timed, or which table is used instead of the target's own."""

    table: Text | None = Field(default=None, description="path of a latency table that replaces the target's")
    int8_table: Text | None = Field(
        default=None, description="path of the table of quantised networks, for latency_int8_ms"
    )
    rounds: Whole = Field(
        default=1000,
        ge=3,
        le=100_000,
        description="interleaved rounds at most; times that settle need fewer, and those that do not stop after a "
        "hundred, when they have run for 15 s",
    )
    calibration_networks: Whole = Field(
        default=10,
        ge=0,
        le=1000,
        description="whole networks timed to calibrate the sum of the blocks; 0 leaves it as it is",
    )
    validation_networks: Whole = Field(
        default=20,
        ge=0,
        le=10_000,
        description="other networks that a measured table must predict; 0 leaves it unvalidated",
    )
    allow_unvalidated: Switch = Field(
        default=False, description="search also with a table that failed its validation, or has none"
    )
    serial: Text | None = Field(default=None, description="of the phone, where several are attached")
    host: Text | None = Field(default=None, description="of the board: user@address, or a name known to ssh")
    threads: Whole = Field(
        default=1, ge=1, le=1024, description="that networks run on; this machine's CPU takes 1 only"
    )
    cpus: Text | None = Field(default=None, description="cores of phones and boards: big, little, or such as 4-7")
