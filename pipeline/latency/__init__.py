"""Stages `latency` and `picks`, and devices measured outside of any run."""
