"""What a block costs on a device: devices, profiling, tables and prediction."""

from .block_model import block_model, network_model
from .calibration import calibrate, calibration_networks
from .device import Device, Progress, Samples
from .devices.host import HostDevice
from .errors import LatencyError
from .predictor import Prediction, Predictor, Price
from .profiler import measure_onnx, profile_blocks
from .table import BlockLatency, Calibration, LatencyTable, list_tables, load_table
from .targets import Target, get_target, list_targets, open_device

__all__ = [
    "BlockLatency",
    "Calibration",
    "Device",
    "HostDevice",
    "LatencyError",
    "LatencyTable",
    "Prediction",
    "Predictor",
    "Price",
    "Progress",
    "Samples",
    "Target",
    "block_model",
    "calibrate",
    "calibration_networks",
    "get_target",
    "list_tables",
    "list_targets",
    "load_table",
    "measure_onnx",
    "network_model",
    "open_device",
    "profile_blocks",
]
