"""Environment variables that libraries read when they are loaded: import this before ONNX Runtime."""

import os

# ONNX Runtime's builds carry a collector.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
