"""Earlier results of a stage lie aside, in `STAGE.previous`, until the new ones are complete.

What is to be moved is written into the manifest first, together with how things are afterwards. A process that is
killed on the way leaves a list that the next one works off: no file is ever in doubt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...common.names import inside
from ...common.text import plain
from ..errors import UserError
from .manifest import MOVING, PREVIOUS, seconds_of, stage_name, write_manifest
from .stage_files import changed_output, move


@dataclass(frozen=True)
class Results:
    """What a stage left, finished or not.

    Attributes:
        entry: the manifest's; None of unfinished work.
        key: of the stage; empty where nobody knows it.
        seconds: that it took.
        files: the stage's own, relative to its folder.
        asked: whether somebody said that they may be replaced.
        discarded: whether they left the run, rather than make way for other results of the same thing.
    """

    entry: Mapping[str, Any] | None
    key: str
    seconds: float
    files: tuple[str, ...]
    asked: bool = False
    discarded: bool = False

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        """As the manifest holds them."""
        facts = value.get("asked") is True, value.get("discarded") is True
        return cls(value.get("entry"), value["key"], value["seconds"], tuple(value["files"]), *facts)

    @classmethod
    def finished(cls, entry: Mapping[str, Any], files: list[str]) -> Self:
        """Of a finished stage."""
        return cls(entry, entry["key"], seconds_of(entry), tuple(files))

    def written(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "key": self.key,
            "seconds": round(self.seconds, 3),
            "files": list(self.files),
            "entry": self.entry,
            "asked": self.asked,
            "discarded": self.discarded,
        }


class PreviousResults:
    """Moves results of stages aside and back.

    Args:
        folder: of the run.
        manifest: of the run; it is changed, and written.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._aside: dict[str, Any] = manifest.setdefault("previous", {})
        self._moves: list[dict[str, Any]] = manifest.setdefault("moves", [])

    def of(self, stage: str) -> Results | None:
        """What lies aside."""
        return Results.read(self._aside[stage]) if stage in self._aside else None

    def stand(self, stage: str) -> bool:
        """Whether what lies aside is finished, and as it was made."""
        aside = self.of(stage)
        if aside is None or aside.entry is None:
            return False
        return changed_output(self._place(stage, PREVIOUS), aside.entry["outputs"]) is None

    def set_aside(self, stage: str, results: Results) -> None:
        """Move a stage's results aside; what lay there is removed.

        Raises:
            UserError: files of somebody else's are in the way; nothing was moved.
        """
        lying = self.of(stage)
        self._check_free(stage, PREVIOUS, results, lying)
        moves = [_move(stage, PREVIOUS, None, lying), _move(stage, "", PREVIOUS, results)]
        self._aside[stage] = results.written()
        self.manifest["stages"].pop(stage, None)
        self._work_off(moves)

    def exchange(self, stage: str, in_place: Results | None) -> None:
        """Move what lies aside back into its place, and what is there aside.

        Raises:
            UserError: files of somebody else's are in the way; nothing was moved.
        """
        back = Results.read(self._aside[stage])
        if in_place is not None:
            self._check_free(stage, PREVIOUS, in_place, back)
            self._check_free(stage, MOVING, in_place, None)
        self._check_free(stage, "", back, in_place)
        moves = [
            _move(stage, "", MOVING, in_place),
            _move(stage, PREVIOUS, "", back),
            _move(stage, MOVING, PREVIOUS, in_place),
        ]
        self.manifest["stages"].pop(stage, None)
        del self._aside[stage]
        if in_place is not None:
            self._aside[stage] = in_place.written()
        if back.entry is not None:
            self.manifest["stages"][stage] = dict(back.entry)
        self._work_off(moves)

    def remove(self, stage: str) -> None:
        """Remove what lies aside."""
        moves = [_move(stage, PREVIOUS, None, self.of(stage))]
        self._aside.pop(stage, None)
        self._work_off(moves)

    def remove_in_place(self, stage: str, results: Results) -> None:
        """Remove a stage's results."""
        self.manifest["stages"].pop(stage, None)
        self._work_off([_move(stage, "", None, results)])

    def finish_moves(self) -> None:
        """Do what a killed process had begun."""
        while self._moves:
            first = self._moves[0]
            target = None if first["to"] is None else self._place(first["stage"], first["to"])
            move(self._place(first["stage"], first["from"]), target, first["files"])
            self._moves.pop(0)
            write_manifest(self.folder, self.manifest)

    def _work_off(self, moves: list[dict[str, Any]]) -> None:
        self._moves += [each for each in moves if each["files"]]
        write_manifest(self.folder, self.manifest)
        self.finish_moves()

    def _check_free(self, stage: str, ending: str, arriving: Results, leaving: Results | None) -> None:
        known = set(leaving.files) if leaving is not None else set()
        for path in (self._place(stage, ending) / name for name in arriving.files if name not in known):
            if os.path.lexists(path):
                raise UserError(f"{plain(str(path))} is in the way of earlier results: move it elsewhere")

    def _place(self, stage: str, ending: str) -> Path:
        return inside(self.folder, stage_name(stage) + ending)


def _move(stage: str, source: str, target: str | None, results: Results | None) -> dict[str, Any]:
    files = list(results.files) if results is not None else []
    return {"stage": stage, "from": source, "to": target, "files": files}
