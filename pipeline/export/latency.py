"""How long exported files take: predicted for the target, measured on it where it is there, and on this host."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx

from ...exporters.formats import get_format
from ...exporters.onnx.formats import Onnx
from ...exporters.passport.records import LatencyRecord, SustainedRecord
from ...latency_tables import Device, HostDevice, Predictor, Rounds, Target, judge, measure, measure_sustained
from ...latency_tables.runtimes.names import runtime_family, runtime_warning
from ...latency_tables.runtimes.onnx_files import fixed_shapes
from ...models import Block
from .settings import ExportConfig


def predicted_latency(target: Target, predictor: Predictor, blocks: Sequence[Block]) -> LatencyRecord:
    """What the target's table says of a network in float32, and whether an ONNX file runs in the table's runtime."""
    prediction = predictor.predict(blocks)
    table = predictor.table
    warning = runtime_warning(table, Onnx.name, Onnx.runtime)
    return LatencyRecord(
        target=target.name,
        device=str(table.device["name"]),
        kind="predicted",
        source=f"predicted, {table.kind} table {table.name}" + (f"; {warning}" if warning else ""),
        latency_ms=prediction.latency_ms,
        low_ms=prediction.low_ms,
        high_ms=prediction.high_ms,
        runtime=table.runtime,
        other_runtime=warning is not None,
        table_kind=table.kind,
        table_state=judge(table).state,
        extrapolated=prediction.extrapolated,
    )


def predictions_by_format(prediction: LatencyRecord | None, formats: Collection[str]) -> dict[str, LatencyRecord]:
    """The float files that the prediction is stated of: in the table's runtime, and ONNX with a warning if need be."""
    if prediction is None:
        return {}
    of_table = runtime_family(prediction.runtime or "")
    # The number is the same for all; where a file runs in another runtime, its record says so.
    own = [name for name in formats if get_format(name).made_from is None and get_format(name).runtime == of_table]
    stated = {name: _of_the_file(prediction) for name in own} | {Onnx.name: prediction}
    return {name: stated[name] for name in formats if name in stated}


def _of_the_file(prediction: LatencyRecord) -> LatencyRecord:
    source = prediction.source.partition(";")[0]
    return prediction.model_copy(update={"source": source, "other_runtime": False})


def measured_latencies(
    models: Mapping[str, bytes], shape: Sequence[int], device: Device | None, target: Target, settings: ExportConfig
) -> dict[str, list[LatencyRecord]]:
    """Time ONNX files in turns at batch 1: on the target's device, and always on this host.

    Args:
        models: content by format.
        shape: of one image, `[1, C, H, W]`.
        device: the target's; None where it is not there.
        target: whose name the device's records carry.
        settings: how often, and how long under lasting load.

    Returns:
        Records by format, those of the device first.
    """
    fixed = {
        name: fixed_shapes(onnx.load_from_string(content), name, shape).SerializeToString()
        for name, content in models.items()
    }
    places: dict[str, Device] = {"host": HostDevice()}
    if device is not None and device.kind != HostDevice.kind:
        places = {target.name: device} | places
    records: dict[str, list[LatencyRecord]] = {name: [] for name in models}
    for place_name, place in places.items():
        # Files of fewer bits may differ from this host's answers by more; here they are compared with themselves.
        exact = {name: model for name, model in fixed.items() if get_format(name).keeps_float32 or place_name == "host"}
        rest = {name: model for name, model in fixed.items() if name not in exact}
        for group, precision in ((exact, "fp32"), (rest, "int8")):
            if group:
                for name, record in _timed(place_name, place, group, precision, settings).items():
                    records[name].append(record)
    return records


def _timed(
    place_name: str, place: Device, models: Mapping[str, bytes], precision: str, settings: ExportConfig
) -> dict[str, LatencyRecord]:
    most = settings.latency_rounds
    timings = measure(place, models, Rounds(least=most, most=most), precision=precision)
    fingerprint = place.fingerprint()
    return {
        name: LatencyRecord(
            target=place_name,
            device=str(fingerprint["name"]),
            kind="measured",
            source=f"measured, {fingerprint['runtime']}",
            latency_ms=timing.latency_ms,
            median_ms=timing.median_ms,
            p90_ms=timing.p90_ms,
            rounds=timing.rounds,
            sustained=_sustained(place, {name: models[name]}, settings.sustained_s),
        )
        for name, timing in timings.items()
    }


def _sustained(place: Device, model: Mapping[str, bytes], seconds: float) -> SustainedRecord | None:
    return SustainedRecord.of(measure_sustained(place, model, seconds)) if seconds else None
