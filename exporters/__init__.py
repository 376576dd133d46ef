"""How a network leaves: export, parity with PyTorch, and the passport that says what was checked."""

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .errors import ExportError
    from .onnx.export import Preprocessing, export_onnx, traced
    from .parity import Parity, compare, onnx_logits
    from .passport.passport import Passport
    from .passport.records import Accuracy, ExportedFile, LatencyRecord

__all__ = [
    "Accuracy",
    "ExportError",
    "ExportedFile",
    "LatencyRecord",
    "Parity",
    "Passport",
    "Preprocessing",
    "compare",
    "export_onnx",
    "onnx_logits",
    "traced",
]

__getattr__ = lazy_names(__name__, __file__)
