"""Stages `supernet`, `oneshot` and `similarity`: training with shared weights, and what it is worth."""
