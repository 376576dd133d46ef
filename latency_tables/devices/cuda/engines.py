"""Ways to run an ONNX model on an NVIDIA GPU; each puts work on the current CUDA stream and does not wait."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ...probe import probe_input
from ...runtimes.onnxruntime import onnxruntime
from ...runtimes.tensorrt_engine import LoadedEngine
from ...runtimes.tensorrt_library import find_library, open_library
from .onnx_in_torch import OnnxInTorch

_WARM_UPS = 3  # libraries choose their kernels in the first runs


class Engine(Protocol):
    """A model that is loaded, with its probe inputs and its outputs in place on the GPU.

    Engines are made with a name for error messages, the serialised model and a device whose current stream is not the
    default one, which cannot be captured; failing, they raise whatever their library does.
    """

    def enqueue(self) -> None:
        """Run once, on the current stream."""
        ...

    def output(self) -> torch.Tensor:
        """The first output of the last run, valid once the stream is done."""
        ...


class TorchEngine:
    """PyTorch: the operators of block models, captured as a CUDA graph, so that launching costs next to nothing."""

    def __init__(self, name: str, content: bytes, device: torch.device) -> None:
        model = OnnxInTorch(name, content).to(device)
        self._input = _probe(model.input_shape, device)
        # TF32 keeps 10 bits of each number: fast, but not the model that was asked for.
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True, allow_tf32=False):
            for _ in range(_WARM_UPS):
                model(self._input)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = model(self._input)

    @staticmethod
    def title() -> str | None:
        """What runs models; None where it is not installed."""
        return f"PyTorch {torch.__version__}, CUDA graph"

    def enqueue(self) -> None:
        """See `Engine`."""
        self._graph.replay()

    def output(self) -> torch.Tensor:
        """See `Engine`."""
        return self._output


class OnnxRuntimeEngine:
    """ONNX Runtime's CUDA provider, from the package `onnxruntime-gpu`; it captures a CUDA graph itself."""

    def __init__(self, name: str, content: bytes, device: torch.device) -> None:
        provider = {
            "device_id": str(device.index),
            "enable_cuda_graph": "1",
            "use_tf32": "0",
            "user_compute_stream": str(torch.cuda.current_stream(device).cuda_stream),
        }
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # What fell back to the processor would be timed as if the GPU were slow.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        onnxruntime.preload_dlls()  # PyTorch's packages bring the CUDA libraries
        self._session = onnxruntime.InferenceSession(content, options, providers=[("CUDAExecutionProvider", provider)])
        self._binding = self._session.io_binding()
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._tensors = {tensor.name: _probe(tuple(tensor.shape), device) for tensor in [*inputs, *outputs]}
        for tensors, bind in ((inputs, self._binding.bind_input), (outputs, self._binding.bind_output)):
            for tensor in tensors:
                address = self._tensors[tensor.name].data_ptr()
                bind(tensor.name, "cuda", device.index, np.float32, tensor.shape, address)
        self._first_output = outputs[0].name
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        for _ in range(_WARM_UPS):
            self.enqueue()

    @staticmethod
    def title() -> str | None:
        """See `TorchEngine.title`."""
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return f"ONNX Runtime {onnxruntime.__version__}, CUDAExecutionProvider, CUDA graph"
        return None

    def enqueue(self) -> None:
        """See `Engine`."""
        self._session.run_with_iobinding(self._binding, self._run_options)

    def output(self) -> torch.Tensor:
        """See `Engine`."""
        return self._tensors[self._first_output]


class TensorRTEngine:
    """TensorRT, or TensorRT-RTX; builds for this GPU, which takes seconds a model."""

    def __init__(self, name: str, content: bytes, device: torch.device) -> None:
        library = open_library(find_library() or "tensorrt")
        built = library.build(name, content)
        self._engine = LoadedEngine(library, built.plan, device)
        inputs = {tensor: _probe(self._engine.shape(tensor), device) for tensor in self._engine.inputs}
        self._output = self._engine.bind(inputs)[built.output]
        for _ in range(_WARM_UPS):
            self.enqueue()

    @staticmethod
    def title() -> str | None:
        """See `TorchEngine.title`."""
        installed = find_library()
        return open_library(installed).title if installed else None

    def enqueue(self) -> None:
        """See `Engine`."""
        self._engine.enqueue()

    def output(self) -> torch.Tensor:
        """See `Engine`."""
        return self._output


# In the order in which `auto` takes the first that is installed; PyTorch always is.
ENGINES = {"onnxruntime": OnnxRuntimeEngine, "tensorrt": TensorRTEngine, "torch": TorchEngine}


def _probe(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(probe_input(shape)).to(device)
