"""Checkpoints of unfinished work: everything a training loop needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..common.files import write_atomic
from .errors import Paused, UserError

_DIGEST_BYTES = 32


class Checkpoint:
    """One checkpoint file.

    The file is a SHA-256 digest followed by what `torch.save` writes, and is read with `weights_only=True`: a damaged
    file is noticed, and one from a stranger can do no harm.

    Args:
        path: where the file lies.
        interval: seconds between periodic saves.
        deadline: of `time.monotonic()`, when work is to pause; None for never.
    """

    def __init__(self, path: Path, interval: float, deadline: float | None = None) -> None:
        self.path = path
        self.interval = interval
        self._deadline = deadline
        self._last_save = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state with the random generators' states put back, or None when there is none.

        Raises:
            UserError: the file is damaged.
        """
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            raise UserError(f"{self.path} is damaged: delete it and run the same command to start this stage again")
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        torch.set_rng_state(state["torch_rng"])
        if torch.cuda.is_available() and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        return state["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint. `state` holds tensors and plain values only."""
        buffer = io.BytesIO()
        cuda_rng = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        torch.save({"torch_rng": torch.get_rng_state(), "cuda_rng": cuda_rng, "state": state}, buffer)
        payload = buffer.getvalue()
        write_atomic(self.path, hashlib.sha256(payload).digest() + payload)
        self._last_save = time.monotonic()

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save when the interval has passed.

        Raises:
            Paused: the deadline has passed; the state is saved.
        """
        now = time.monotonic()
        paused = self._deadline is not None and now >= self._deadline
        if paused or now - self._last_save >= self.interval:
            self.save(state())
        if paused:
            raise Paused
