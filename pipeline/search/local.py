"""A search by one process, in files of its run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...common.errors import UnreadableFile
from ...common.files import sha256_json, write_atomic
from ...common.reading import read_object
from ...common.text import shown
from ..console import Bar, console
from .algorithms.interface import Algorithm
from .archive import Archive
from .journal import Score, ScoreJournal
from .problem import Problem
from .study_file import StudyFile

_STATE, _SCORES, _STUDY = "state.json", "scores.jsonl", "study.db"
_LARGEST_STATE = 1 << 31


def search_locally(problem: Problem, folder: Path, bar: Bar, owner: str = "") -> Archive:
    """Search, or go on with a search that was cut off: of its scores only those under way then are lost.

    Scores are appended to `scores.jsonl` as they come, `state.json` holds the algorithm's state after its last whole
    generation, and `study.db` is for people to watch. Each generation takes the same time to put away, however many
    went before. Scores that are not as they were written, and those after them, are taken again; a state that does not
    agree with the scores is worked out again from them.

    Args:
        problem: what to search.
        folder: where.
        bar: over all architectures.
        owner: whose search it is, which its files name.

    Raises:
        UserError: a file there cannot be written.
    """
    journal = ScoreJournal(folder / _SCORES, owner, problem.space.genes)
    algorithm, archive = problem.algorithm(), problem.archive()
    done, told = _load_state(folder / _STATE, owner, algorithm, journal)
    if told is None:  # what the algorithm made of the scores can be worked out again
        algorithm, told = problem.algorithm(), 0
    archive.members = [problem.scored(*score) for score in journal.scores[:told]]
    bar.advance(by=told)
    watched = StudyFile(folder / _STUDY, archive, problem)
    for generation in range(done, problem.settings.generations):
        genomes, started = algorithm.ask(), len(archive.members)
        known = journal.scores[started : started + len(genomes)]
        asked = [(genome, generation) for genome in genomes]
        if [(score.genome, score.generation) for score in known] != asked[: len(known)]:
            journal.keep(started)  # from another machine, whose arithmetic differs in its last bits
            known = []
        archive.members += [problem.scored(*score) for score in known]
        watched.update()
        bar.advance(by=len(known))

        def advance(accuracy: float, generation: int = generation) -> None:
            bar.advance(f"generation {generation + 1}, top-1 {accuracy:.1%}")

        for first in range(len(known), len(genomes), problem.at_once):
            part = genomes[first : first + problem.at_once]
            accuracies = problem.score(part, advance)
            scores = [Score(genome, generation, accuracy) for genome, accuracy in zip(part, accuracies, strict=True)]
            journal.append(scores)
            archive.members += [problem.scored(*score) for score in scores]
            watched.update()
        members = archive.members[started:]
        algorithm.tell(genomes, archive.minimised(members), archive.violations(members))
        journal.sync()
        _save_state(folder / _STATE, owner, generation + 1, len(archive.members), algorithm, journal)
    journal.keep(len(archive.members))
    watched.close()
    return archive


def _save_state(
    path: Path, owner: str, generations: int, told: int, algorithm: Algorithm, journal: ScoreJournal
) -> None:
    state = {
        "owner": owner,
        "generations": generations,
        "told": told,
        "scores": journal.digest(told),
        "algorithm": algorithm.state(),
    }
    write_atomic(path, json.dumps(state | {"digest": sha256_json(state)}))


def _load_state(path: Path, owner: str, algorithm: Algorithm, journal: ScoreJournal) -> tuple[int, int | None]:
    """How many generations are done, and of how many scores the algorithm was told.

    Where the file and the scores do not agree, people are told, and the scores that are sound count alone: None then.
    """
    damage = [f"{path.with_name(_SCORES)} {journal.damage}"] if journal.damage else []
    state: dict[str, Any] = {"generations": 0, "told": 0}
    if path.exists() or path.is_symlink():
        found = _read_state(path, owner, journal, algorithm)
        if isinstance(found, str):
            damage.append(f"{path} {found}")
            state = {"generations": 0, "told": None}
        else:
            state = found
    if damage:
        console.print(
            f"[yellow]{shown(' and '.join(damage))}: the search goes on from the {len(journal.scores):,} scores "
            "that are as they were written[/]",
            soft_wrap=True,
        )
    return state["generations"], state["told"]


def _read_state(path: Path, owner: str, journal: ScoreJournal, algorithm: Algorithm) -> dict[str, Any] | str:
    """The state, loaded into the algorithm; or what is wrong with it."""
    try:
        state = read_object(path, _LARGEST_STATE)
        digest = state.pop("digest", None)
    except UnreadableFile:
        return "is damaged"
    if digest is None:
        return "does not say whose it is, as those of earlier versions"
    if digest != sha256_json(state):
        return "was changed"
    if state["owner"] != owner:
        return "is another search's"
    if state["told"] > len(journal.scores) or state["scores"] != journal.digest(state["told"]):
        return "counts scores that are not there"
    try:
        algorithm.load_state(state["algorithm"])
    except (ValueError, KeyError, TypeError, RuntimeError):
        return "does not fit the algorithm"
    return state
