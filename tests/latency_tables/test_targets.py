"""Targets name devices and tables; those that need an option, or are not there, say so in one line."""

from __future__ import annotations

import pytest
from fairnas.latency_tables import DeviceOptions, HostDevice, LatencyError, get_target, list_targets, open_device

KINDS = {
    "board": "ssh",
    "cpu": "host",
    "gpu": "cuda",
    "note10": None,
    "pixel": "adb",
    "pixel3": None,
    "rpi4": None,
    "web": "browser",
}


def test_every_target_has_a_device_or_a_table() -> None:
    assert list_targets() == sorted(KINDS)
    for name, kind in KINDS.items():
        target = get_target(name)
        assert (target.name, target.device_kind) == (name, kind)
        assert target.device_kind or target.table
        assert target.title
        assert target.formats == ("onnx",)


def test_this_machine_is_opened_as_it_is() -> None:
    assert isinstance(open_device(get_target("cpu")), HostDevice)


@pytest.mark.parametrize("name", ["note10", "pixel3", "rpi4"])
def test_a_target_that_is_only_a_table_has_no_device(name: str) -> None:
    assert open_device(get_target(name)) is None


def test_a_board_needs_an_address_and_is_not_connected_to_before_it_is_prepared() -> None:
    with pytest.raises(LatencyError, match="target board needs to know where the board is: add --host user@address"):
        open_device(get_target("board"))
    board = open_device(get_target("board"), DeviceOptions(host="pi@board.invalid"))
    assert board
    assert board.kind == "ssh"
    board.close()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("pixle", "did you mean 'pixel'"), ("webb", "did you mean 'web'"), ("toaster", "choose from board, cpu")],
)
def test_an_unknown_target_gets_the_nearest_name(name: str, answer: str) -> None:
    with pytest.raises(LatencyError, match=f"unknown target '{name}': {answer}"):
        get_target(name)
