"""The Optuna study of a search: for its plots and dashboard. The archive is the truth, the study mirrors it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import create_trial
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UserError
from .archive import Archive


class StudyMirror:
    """A study in an SQLite file, brought up to date once per generation.

    A trial carries its values and, as attributes, architecture and costs. It has no parameters: one per layer would
    cost SQLite 80 ms a trial.
    """

    def __init__(self, path: Path, archive: Archive, resume: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if not resume:
            path.unlink(missing_ok=True)
        self._path, self._archive = path, archive
        with self._writing():
            self._study = optuna.create_study(
                study_name="search",
                storage=f"sqlite:///{path}",
                directions=[optuna.study.StudyDirection[d.upper()] for d in archive.objectives.values()],
                load_if_exists=True,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(list(archive.objectives))
            self._mirrored = len(self._study.get_trials(deepcopy=False))

    def update(self) -> None:
        """Add the members that the study does not have yet."""
        archive = self._archive
        trials = [
            create_trial(
                values=[member.values[quantity] for quantity in archive.objectives],
                user_attrs={"architecture": member.architecture, "generation": member.generation} | member.values,
                constraints={
                    f"{quantity}<={limit:g}": member.values[quantity] - limit
                    for quantity, limit in archive.limits.items()
                },
            )
            for member in archive.members[self._mirrored :]
        ]
        with self._writing():
            self._study.add_trials(trials)
        self._mirrored += len(trials)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError):
            raise UserError(f"cannot write {self._path}: is the disk full? Free some space and run again") from None
