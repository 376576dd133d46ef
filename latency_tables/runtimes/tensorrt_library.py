"""TensorRT and TensorRT-RTX behind their one Python API: which is installed, and how an engine is built.

TensorRT builds for the GPU that is there. TensorRT-RTX builds without one, for GPUs to be named; the one that runs the
engine compiles its kernels when it loads it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import LatencyError

TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_INSTALL = {"tensorrt": "pip install tensorrt", "tensorrt_rtx": "pip install 'fairnas[tensorrt]'"}
_OLDEST = 10  # the first TensorRT whose networks can be typed strongly and whose contexts take tensors by name

Configure = Callable[[Any, Any, Any], None]
"""Sets options; given the library's builder, network and builder configuration."""


@dataclass(frozen=True)
class Built:
    """An engine, serialised.

    Attributes:
        plan: the engine.
        output: name of the network's first output.
        log: what the library said while it built, line by line.
    """

    plan: bytes
    output: str
    log: tuple[str, ...]


def find_library(names: Sequence[str] = tuple(TITLES)) -> str | None:
    """The first of these packages that is installed."""
    return next((name for name in names if importlib.util.find_spec(name)), None)


@functools.cache
def open_library(name: str) -> TensorRtLibrary:
    """A library by its package's name; loaded once.

    Raises:
        LatencyError: it is not installed, does not load or is too old.
    """
    title = TITLES[name]
    if not importlib.util.find_spec(name):
        raise LatencyError(f"{title} is not installed: {_INSTALL[name]}")
    try:
        module = importlib.import_module(name)
        version = module.__version__
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise LatencyError(f"{title} is installed but does not load: {_first_line(error)}") from error
    if name == "tensorrt" and int(version.split(".")[0]) < _OLDEST:
        raise LatencyError(f"TensorRT {version} is too old: version {_OLDEST} or newer is needed")
    return TensorRtLibrary(module)


def no_gpu() -> str | None:
    """Why PyTorch can use no NVIDIA GPU here, in one line; None where it can."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch without CUDA
        return _first_line(error).split(". ")[0].rstrip(".")
    return None


class TensorRtLibrary:
    """A loaded library; from `open_library`.

    Attributes:
        module: the package.
        log: the process's one logger: the libraries go on with the first that they are given, whatever follows.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.log = _log_class(module)()

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.module.__name__ == "tensorrt_rtx"

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{TITLES[self.module.__name__]} {self.module.__version__}"

    @contextmanager
    def recording(self) -> Iterator[list[tuple[str, str]]]:
        """What the library says meanwhile: severity and text."""
        self.log.lines = lines = []
        try:
            yield lines
        finally:
            self.log.lines = None

    def build(self, name: str, content: bytes, configure: Configure | None = None) -> Built:
        """Build an engine that computes in the types that an ONNX model states, and in no other: TF32 is off.

        Args:
            name: of the model, in error messages.
            content: the model.
            configure: sets what else is to be set.

        Raises:
            LatencyError: the library cannot read the model, or cannot build an engine for it.
        """
        trt = self.module
        with self.recording() as lines:
            try:
                builder = trt.Builder(self.log)
            except (TypeError, RuntimeError) as error:  # its factory gives nothing where CUDA does not work
                raise LatencyError(f"{self.title} cannot build here: {fault(lines) or _first_line(error)}") from error
            network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            parser = trt.OnnxParser(network, self.log)
            if not parser.parse(content) or not network.num_outputs:
                raise LatencyError(f"{name} does not load in {self.title}: {_parser_faults(parser)}")
            config = builder.create_builder_config()
            config.clear_flag(trt.BuilderFlag.TF32)
            if configure:
                configure(builder, network, config)
            plan = builder.build_serialized_network(network, config)
            if plan is None:
                reason = fault(lines) or "it does not say why"
                raise LatencyError(f"{self.title} cannot build an engine for {name}: {reason}")
            return Built(bytes(plan), network.get_output(0).name, tuple(text for _, text in lines))


def fault(lines: Sequence[tuple[str, str]]) -> str | None:
    """The first error among what a library said, without the places in its sources."""
    errors = (text for severity, text in lines if severity in ("INTERNAL_ERROR", "ERROR"))
    # It may also report that its error handling failed, which explains nothing.
    return next((_plain(text) for text in errors if not text.startswith("[checkMacros")), None)


def _log_class(module: Any) -> type:
    class Log(module.ILogger):
        """Keeps what is said while `lines` is a list; the library calls it from several threads."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[str, str]] | None = None

        def log(self, severity: Any, msg: str) -> None:
            if self.lines is not None:
                self.lines.append((severity.name, msg))

    return Log


def _parser_faults(parser: Any) -> str:
    faults = [_parser_fault(parser.get_error(place)) for place in range(parser.num_errors)]
    if not faults:
        return "it has no outputs"
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return "; ".join(faults[:3]) + more


def _parser_fault(error: Any) -> str:
    lines = [line for line in error.desc().splitlines() if line and not line.startswith(("[", "Invalid Node"))]
    said = _plain(lines[0]) if lines else "not valid"
    if not error.node_operator():
        return said
    node = f"{error.node_operator()} '{error.node_name()}'"
    if said == "false" or "Plugin not found" in said:  # what the parser says of operators that it has no code for
        return f"the operator {node} is not supported"
    return f"{node}: {said}"


def _plain(text: str) -> str:
    """Without the failed C++ expression, the function that failed and its place in the sources."""
    text = re.sub(r"^Assertion failed: .*?: ", "", text)
    text = re.sub(r"^\w+::\w+: Error Code \d+: ", "", text)
    text = re.sub(r"\s*In \w+ at \S+:\d+", "", text)
    return " ".join(text.split()).replace("( ", "(")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
