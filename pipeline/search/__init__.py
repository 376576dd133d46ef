"""Constrained multi-objective search over the architectures of a space."""
