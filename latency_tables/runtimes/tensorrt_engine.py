"""A TensorRT engine on an NVIDIA GPU, bound to PyTorch's tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import LatencyError
from .tensorrt_library import TensorRtLibrary, fault


class LoadedEngine:
    """An engine that is ready to run.

    Args:
        library: that built it.
        plan: the serialised engine.
        device: the GPU; it must be PyTorch's current one.

    Raises:
        LatencyError: it does not load on this GPU.
    """

    def __init__(self, library: TensorRtLibrary, plan: bytes, device: torch.device) -> None:
        self._trt = library.module
        self._device = device
        with library.recording() as lines:
            self._runtime = self._trt.Runtime(library.log)  # an engine lives no longer than it
            self.engine = self._runtime.deserialize_cuda_engine(plan)
            context = self.engine.create_execution_context() if self.engine else None
        if context is None:
            raise LatencyError(f"the engine does not load in {library.title}: {fault(lines) or 'it does not say why'}")
        self._context = context
        names = [self.engine.get_tensor_name(place) for place in range(self.engine.num_io_tensors)]
        modes = {name: self.engine.get_tensor_mode(name) for name in names}
        self.inputs = [name for name in names if modes[name] == self._trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if modes[name] == self._trt.TensorIOMode.OUTPUT]
        self._bound: dict[str, Tensor] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an input or output; sizes that are open are -1."""
        return tuple(self.engine.get_tensor_shape(name))

    def dtype(self, name: str) -> torch.dtype:
        """Of an input or output."""
        return torch.from_numpy(np.empty(0, self._trt.nptype(self.engine.get_tensor_dtype(name)))).dtype

    def batches(self) -> tuple[int, int, int]:
        """Smallest, usual and largest first size of the first input."""
        size = self.shape(self.inputs[0])[0]
        if size >= 0:
            return size, size, size
        smallest, usual, largest = self.engine.get_tensor_profile_shape(self.inputs[0], 0)
        return smallest[0], usual[0], largest[0]

    def bind(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bind inputs, which lie contiguously on the GPU in the engine's types, and new outputs, which are returned.

        Raises:
            LatencyError: the engine was not built for an input's shape.
        """
        for name, values in inputs.items():
            if not self._context.set_input_shape(name, tuple(values.shape)):
                raise LatencyError(f"the engine was not built for {name} of shape {list(values.shape)}")
        outputs = {
            name: torch.empty(tuple(self._context.get_tensor_shape(name)), dtype=self.dtype(name), device=self._device)
            for name in self.outputs
        }
        self._bound = {**inputs, **outputs}  # the engine knows addresses only: nothing may be freed before the next
        for name, values in self._bound.items():
            self._context.set_tensor_address(name, values.data_ptr())
        return outputs

    def enqueue(self) -> None:
        """Start a run on the current CUDA stream, which should not be the default one.

        Raises:
            RuntimeError: it did not start.
        """
        if not self._context.execute_async_v3(torch.cuda.current_stream(self._device).cuda_stream):
            raise RuntimeError("TensorRT did not start a run")
