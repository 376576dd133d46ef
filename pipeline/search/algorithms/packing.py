"""Arrays as JSON values, bit for bit: a search that goes on from its saved state must not differ by a rounding."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def pack(array: np.ndarray) -> dict[str, Any]:
    """The array's bytes in base64, little-endian, beside its type and shape."""
    array = np.asarray(array)
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": data.dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(data.tobytes()).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The array that was packed, writable.

    Raises:
        ValueError, KeyError, TypeError: it is not a packed array.
    """
    data = base64.b64decode(packed["base64"], validate=True)
    dtype = np.dtype(packed["dtype"])
    return np.frombuffer(data, dtype=dtype).reshape(packed["shape"]).astype(dtype.newbyteorder("="), copy=True)
