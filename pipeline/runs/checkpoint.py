"""Checkpoints of unfinished work: everything a training loop needs to go on as if it had never stopped."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common.errors import UnreadableFile
from ...common.files import write_atomic
from ...common.reading import read_bytes
from ...common.text import plain, shown
from ..console import console
from ..errors import Paused, UserError
from ..training.saved_state import Misfit, check_state
from . import stopping
from .checkpoint_file import previous_of, sealed, unsealed

FORMAT = 2
"""Of the file. Format 1, of earlier versions, did not say whose it is."""

_LARGEST = 1 << 40

Check = Callable[[Mapping[str, Any]], str | None]
"""What is wrong with a state whose every part is sound: a step beyond the last, say. None when nothing is."""


@dataclass(frozen=True)
class Owner:
    """Whose a checkpoint is.

    Attributes:
        stage: its name, such as `retrain/pick-1`.
        key: of the settings and inputs of this work.
    """

    stage: str = ""
    key: str = ""


class Checkpoint:
    """The last two checkpoints of one piece of work, in two files.

    A file is a SHA-256 digest followed by what `torch.save` writes: the format, whose it is, the step, the random
    generators' states, the work's state. It is read with `weights_only=True`, so that one from a stranger can do no
    harm, and believed only where digest, owner and every part of the state are sound; else the one before it counts.

    Args:
        path: where the last one lies.
        interval: seconds between periodic saves.
        deadline: of `time.monotonic()`, when work is to pause; None for never.
        owner: whose it is.
    """

    def __init__(self, path: Path, interval: float, deadline: float | None = None, owner: Owner | None = None) -> None:
        self.path = path
        self.interval = interval
        self.owner = owner or Owner()
        self._deadline = deadline
        self._last_save = time.monotonic()

    def load(self, fresh: Mapping[str, Any], check: Check = lambda _: None) -> dict[str, Any] | None:
        """The saved state with the random generators' states put back, or None when there is none.

        Nothing is touched before all of it was found sound. Where the last file is not, the one before it takes its
        place, and people are told.

        Args:
            fresh: the state of the same work before its first step: what a saved one must look like.
            check: what else must hold.

        Raises:
            UserError: there are files, and none can be gone on from.
        """
        reasons: dict[Path, str] = {}
        for path in (self.path, previous_of(self.path)):
            if not path.exists() and not path.is_symlink():
                continue
            try:
                content = self._read(path)
                check_state(content["state"], fresh)
                if reason := check(content["state"]):
                    raise Misfit(reason)
                _use_generators(content)
            except Misfit as misfit:
                reasons[path] = str(misfit)
                continue
            if self.path in reasons:
                console.print(
                    f"[yellow]{shown(self.path)} is damaged: it {shown(reasons[self.path])}; going on from the "
                    "checkpoint before it[/]",
                    soft_wrap=True,
                )
                path.replace(self.path)  # or the next save would put the damaged one in its place
            return content["state"]
        if not reasons:
            return None
        files = " and ".join(f"{plain(str(path))} is damaged: it {reason}" for path, reason in reasons.items())
        stage = self.owner.stage or "the work"
        raise UserError(
            f"{files}: delete {'it' if len(reasons) == 1 else 'both'} and run the same command to start {stage} again"
        )

    def forget(self) -> None:
        """Remove both files."""
        for path in (self.path, previous_of(self.path)):
            path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Add a checkpoint, and keep the one before it. `state` holds tensors and plain values only."""
        buffer = io.BytesIO()
        cuda_rng = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        header = {"format": FORMAT, "stage": self.owner.stage, "key": self.owner.key, "step": state.get("step")}
        torch.save(header | {"torch_rng": torch.get_rng_state(), "cuda_rng": cuda_rng, "state": state}, buffer)
        if self.path.exists():
            self.path.replace(previous_of(self.path))
        write_atomic(self.path, sealed(buffer.getvalue()))
        self._last_save = time.monotonic()

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save when the interval has passed; called between two steps.

        Raises:
            Paused: the deadline has passed; the state is saved.
            Stopped: a signal asked to stop; the state is saved.
        """
        now = time.monotonic()
        paused = self._deadline is not None and now >= self._deadline
        if paused or stopping.is_wanted() or now - self._last_save >= self.interval:
            self.save(state())
        stopping.stop_if_wanted()
        if paused:
            raise Paused

    def _read(self, path: Path) -> dict[str, Any]:
        """A file's content, whose digest, format and owner are right.

        Raises:
            Misfit: they are not.
        """
        try:
            content = read_bytes(path, _LARGEST)
        except UnreadableFile:
            raise Misfit("cannot be read as a file") from None
        if (opened := unsealed(content)) is None:
            raise Misfit("is not what was written")
        version, payload = opened
        try:
            found = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except Exception:  # a hostile file makes torch raise about anything
            raise Misfit("holds no checkpoint") from None
        if not isinstance(found, dict) or not {"torch_rng", "cuda_rng", "state"} <= found.keys():
            raise Misfit("lacks the random generators' states or the work's own")
        if (version == FORMAT) != ("format" in found):
            raise Misfit("is not what was written")
        if version == FORMAT:
            self._check_header(found)
        return found

    def _check_header(self, found: Mapping[str, Any]) -> None:
        if found["format"] != FORMAT:
            raise Misfit(f"has format {str(found['format'])[:20]}, and this version of fairnas reads {FORMAT}")
        if found.get("stage") != self.owner.stage:
            raise Misfit(f"is of stage {plain(str(found.get('stage')))[:60]}, not of {self.owner.stage}")
        if found.get("key") != self.owner.key:
            raise Misfit("is of other settings or inputs, such as another seed")
        if not isinstance(found["state"], dict) or found.get("step") != found["state"].get("step"):
            raise Misfit("holds another step than it says")


def _use_generators(content: Mapping[str, Any]) -> None:
    """Put back the random generators' states.

    Raises:
        Misfit: they are no such states; nothing was changed then.
    """
    on_gpus = content["cuda_rng"]
    if not isinstance(on_gpus, list) or not all(isinstance(state, Tensor) for state in on_gpus):
        raise Misfit("holds no states of random generators")
    try:
        torch.Generator().set_state(content["torch_rng"])
        if torch.cuda.is_available():
            # As many as there are GPUs now: a training of one GPU may go on where there are two.
            for device, state in enumerate(on_gpus[: torch.cuda.device_count()]):
                torch.Generator(f"cuda:{device}").set_state(state)
                torch.cuda.set_rng_state(state, device)
        torch.set_rng_state(content["torch_rng"])
    except (RuntimeError, TypeError, ValueError):
        raise Misfit("holds no states of random generators") from None
