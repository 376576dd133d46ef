"""What a block costs on a device: devices, profiling, tables and prediction."""

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .block_models import block_model, network_model
    from .calibration import calibrate, calibration_networks, recalibrate
    from .device import Conditions, Device, Fingerprint, OnnxModel, Sample
    from .devices import DeviceOptions, open_device
    from .devices.host import HostDevice
    from .errors import DeviceLost, LatencyError
    from .gate import Verdict, judge, require_trust, unsteady
    from .measuring import Progress, Rounds, measure
    from .predictor import Prediction, Predictor, Price
    from .profiler import (
        Places,
        Plan,
        check_on_networks,
        check_on_space,
        measure_networks,
        profile_blocks,
        profile_network,
        profile_space,
    )
    from .sustained import Sustained, measure_sustained
    from .table import LatencyTable, list_tables, load_table
    from .table_parts import BlockLatency, Calibration, Steadiness, Validation
    from .targets import Target, get_target, list_targets
    from .validation import validate, validation_networks

__all__ = [
    "BlockLatency",
    "Calibration",
    "Conditions",
    "Device",
    "DeviceLost",
    "DeviceOptions",
    "Fingerprint",
    "HostDevice",
    "LatencyError",
    "LatencyTable",
    "OnnxModel",
    "Places",
    "Plan",
    "Prediction",
    "Predictor",
    "Price",
    "Progress",
    "Rounds",
    "Sample",
    "Steadiness",
    "Sustained",
    "Target",
    "Validation",
    "Verdict",
    "block_model",
    "calibrate",
    "calibration_networks",
    "check_on_networks",
    "check_on_space",
    "get_target",
    "judge",
    "list_tables",
    "list_targets",
    "load_table",
    "measure",
    "measure_networks",
    "measure_sustained",
    "network_model",
    "open_device",
    "profile_blocks",
    "profile_network",
    "profile_space",
    "recalibrate",
    "require_trust",
    "unsteady",
    "validate",
    "validation_networks",
]

__getattr__ = lazy_names(__name__, __file__)
