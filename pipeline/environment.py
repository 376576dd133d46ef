"""Environment variables that libraries read when they are loaded: import this before torch and ONNX Runtime."""

import os

# Idle OpenMP threads sleep instead of spinning: with other work on the same two cores, spinning made training 4 to 7
# times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# ONNX Runtime's builds carry a collector.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
