"""Run as a script, in a process of its own: how much memory does a model file take? Prints JSON.

Imports nothing but numpy and the file's runtime, since whatever else is imported would be counted.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As latency_tables/runtimes/onnxruntime.py does, which cannot be imported from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MB = 1e6
STATUS = Path("/proc/self/status")


def main() -> None:
    """Load the file named first and run it as often as the second argument says."""
    path, runs = sys.argv[1], int(sys.argv[2])
    runtime, load = _litert() if path.endswith(".tflite") else _onnxruntime()
    before = _resident("VmRSS")
    # From here on the peak is that of the model, and not that of importing its runtime.
    Path("/proc/self/clear_refs").write_text("5")
    run = load(path)
    loaded = _resident("VmRSS")
    for _ in range(runs):
        run()
    peak = _resident("VmHWM")
    answer = {"runtime": runtime, "before_mb": before, "loaded_mb": loaded, "peak_mb": peak, "runs": runs}
    print(json.dumps({name: round(value, 2) if isinstance(value, float) else value for name, value in answer.items()}))


def _onnxruntime() -> tuple[str, Callable[[str], Callable[[], Any]]]:
    import numpy as np
    import onnxruntime

    onnxruntime.disable_telemetry_events()

    def load(path: str) -> Callable[[], Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # as latency is measured
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
        kinds |= {"tensor(int8)": np.int8, "tensor(int64)": np.int64, "tensor(double)": np.float64}
        images = {
            tensor.name: np.zeros([size if isinstance(size, int) else 1 for size in tensor.shape], kinds[tensor.type])
            for tensor in session.get_inputs()
        }
        return lambda: session.run(None, images)

    return f"ONNX Runtime {onnxruntime.__version__}, CPUExecutionProvider, 1 thread", load


def _litert() -> tuple[str, Callable[[str], Callable[[], Any]]]:
    import ai_edge_litert
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    def load(path: str) -> Callable[[], Any]:
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        for tensor in interpreter.get_input_details():
            interpreter.set_tensor(tensor["index"], np.zeros(tensor["shape"], tensor["dtype"]))
        return interpreter.invoke

    return f"LiteRT {ai_edge_litert.__version__}, CPU, 1 thread", load


def _resident(kind: str) -> float:
    """Resident memory in MB: now (`VmRSS`), or at its highest (`VmHWM`)."""
    found = re.search(rf"^{kind}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} does not tell {kind}")
    return int(found[1]) * 1024 / MB


if __name__ == "__main__":
    main()
