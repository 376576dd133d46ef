"""What every device must do: functions that take a device, prepared and undisturbed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fairnas.latency_tables import HostDevice, LatencyError, block_model
from fairnas.latency_tables.device import Device, Sample
from fairnas.latency_tables.probe import MOST_VALUES
from fairnas.models import Block

BLOCKS = (
    Block("conv", 3, 16, 32, 2, 3),
    Block("mbconv", 16, 16, 16, 1, 5, 3, se_ratio=0.25, activation="swish"),
    Block("classifier", 16, 10, 16, activation="none"),
)
MODELS = {block.signature: block_model(block).SerializeToString() for block in BLOCKS}


def names_itself_completely_and_always_alike(device: Device) -> None:
    fingerprint = device.fingerprint()
    assert fingerprint == device.fingerprint()
    assert {"name", "runtime", "threads", "clock_us"} <= fingerprint.keys()
    assert all(value != "" for value in fingerprint.values())
    assert float(fingerprint["clock_us"]) > 0
    assert int(fingerprint["threads"]) >= 1
    assert device.kind
    # It becomes part of file names.
    assert device.id.replace("-", "").replace(".", "").isalnum()


def keeps_its_fingerprint_when_prepared_again(device: Device) -> None:
    fingerprint = device.fingerprint()
    device.prepare()
    assert device.fingerprint() == fingerprint


def answers_as_the_host_does(device: Device) -> None:
    expected = HostDevice().outputs(MODELS)
    answers = device.outputs(MODELS)
    assert answers.keys() == MODELS.keys()
    for name, answer in answers.items():
        assert answer.dtype == np.float32
        assert answer.shape == expected[name].shape
        assert 1 <= answer.size <= MOST_VALUES
        np.testing.assert_allclose(answer, expected[name], rtol=1e-4, atol=1e-4 * float(np.abs(expected[name]).max()))


def takes_one_sample_a_model_and_round_in_turn(device: Device) -> None:
    samples = list(device.measure(MODELS, range(2)))
    assert [(sample.round, sample.model) for sample in samples] == [
        (number, name) for number in range(2) for name in MODELS
    ]
    assert all(is_sound(sample) for sample in samples)


def goes_on_with_later_rounds_and_fewer_models(device: Device) -> None:
    behind = dict(list(MODELS.items())[1:])
    samples = list(device.measure(behind, range(7, 9)))
    assert [(sample.round, sample.model) for sample in samples] == [
        (number, name) for number in (7, 8) for name in behind
    ]


def can_be_left_in_the_middle_of_measuring(device: Device) -> None:
    samples = device.measure(MODELS, range(1000))
    assert is_sound(next(samples))
    del samples
    assert len(list(device.measure(MODELS, range(1)))) == len(MODELS)


def refuses_what_is_no_model_by_its_name(device: Device) -> None:
    for attempt in (device.outputs, lambda models: list(device.measure(models, range(1)))):
        with pytest.raises(LatencyError, match="half a model") as refusal:
            attempt({**MODELS, "half a model": MODELS[BLOCKS[0].signature][:100]})
        assert "\n" not in str(refusal.value)
    assert len(device.outputs(MODELS)) == len(MODELS)


def takes_any_text_for_the_name_of_a_model(device: Device) -> None:
    model = MODELS[BLOCKS[0].signature]
    names = ["", " ", "a b", "../../etc/passwd", "$(reboot)", "'; exit 1 #", "-rf", "é\n\x00\t√", "x" * 500]
    models = dict.fromkeys(names, model)
    assert list(device.outputs(models)) == names
    assert [sample.model for sample in device.measure(models, range(1))] == names


def says_how_warm_it_is_or_that_it_does_not_know(device: Device) -> None:
    now = device.conditions()
    assert now.temperature_c is None or -40 < now.temperature_c < 150
    assert now.frequency_mhz is None or now.frequency_mhz > 0


def may_be_closed_twice_and_prepared_again(device: Device) -> None:
    fingerprint = device.fingerprint()
    device.close()
    device.close()
    device.prepare()
    assert device.fingerprint() == fingerprint
    assert len(device.outputs(MODELS)) == len(MODELS)


CONTRACT: tuple[Callable[[Device], None], ...] = (
    names_itself_completely_and_always_alike,
    keeps_its_fingerprint_when_prepared_again,
    answers_as_the_host_does,
    takes_one_sample_a_model_and_round_in_turn,
    goes_on_with_later_rounds_and_fewer_models,
    can_be_left_in_the_middle_of_measuring,
    refuses_what_is_no_model_by_its_name,
    takes_any_text_for_the_name_of_a_model,
    says_how_warm_it_is_or_that_it_does_not_know,
    may_be_closed_twice_and_prepared_again,
)
"""Parametrise a test of a device with these: `@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)`."""


def sentence(promise: Callable[[Device], None]) -> str:
    """How a promise is listed among test results."""
    return promise.__name__


def is_sound(sample: Sample) -> bool:
    """Whether these can be times."""
    return sample.cold_ms > 0 and sample.warm_ms > 0 and (sample.cpu_ms is None or sample.cpu_ms >= 0)
