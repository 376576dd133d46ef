"""The Optuna study of a search: for its plots and dashboard. It records what the search found, and decides nothing."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import sqlalchemy as sql
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, Engine

from ...models import SearchSpace
from .archive import Archive, Scored
from .quantities import excess

_TABLES = ("trials", "trial_values", "trial_params", "trial_user_attributes", "trial_system_attributes")
PATIENCE_SECONDS = 60  # a dashboard that reads the study locks its file for moments


class Study:
    """A study in a database, to which trials are added by the dozen.

    A trial has a parameter per layer, the objectives by name, the constraints, and as attributes all that is known of
    the architecture. Optuna itself adds such a trial in 20 to 30 ms (SQLite, 19 layers: a transaction per trial and
    several queries per parameter). The rows of many trials inserted together take 0.2 ms a trial and are the same rows:
    Optuna reads them back. `results/search_overhead.json` has the times of both.

    Args:
        engine: of the database.
        name: of the study, which is made where there is none.
        archive: objectives and limits.
        space: what is searched.
    """

    def __init__(self, engine: Engine, name: str, archive: Archive, space: SearchSpace) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = _storage_of(engine)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[optuna.study.StudyDirection[direction.upper()] for direction in archive.objectives.values()],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(archive.objectives))
        storage.engine.dispose()
        catalogue = sql.MetaData()
        catalogue.reflect(engine, only=("studies", *_TABLES))
        self._tables = catalogue.tables
        studies = self._tables["studies"].c
        with engine.connect() as connection:
            self._id = connection.scalar(sql.select(studies.study_id).where(studies.study_name == name))
        self._archive = archive
        self._distribution = distribution_to_json(CategoricalDistribution([str(choice) for choice in space.choices]))
        self._layers = [f"layer_{number:02d}" for number in range(1, len(space.layers) + 1)]

    def count(self, connection: Connection) -> int:
        """How many trials it has."""
        trials = self._tables["trials"]
        query = sql.select(sql.func.count()).select_from(trials).where(trials.c.study_id == self._id)
        return connection.scalar(query) or 0

    def clear(self, connection: Connection) -> None:
        """Remove all its trials, inside the connection's transaction."""
        trials = self._tables["trials"].c
        own = sql.select(trials.trial_id).where(trials.study_id == self._id)
        for name in reversed(_TABLES):
            table = self._tables[name]
            connection.execute(sql.delete(table).where(table.c.trial_id.in_(own)))

    def add(self, connection: Connection, members: Sequence[Scored], **attributes: Any) -> None:
        """Add a trial for each member, inside the connection's transaction; nobody else may add any meanwhile.

        Args:
            connection: to the study's database.
            members: what was scored.
            attributes: of each trial, besides what the archive knows.
        """
        if not members:
            return
        trials = [self._trial(member, attributes) for member in members]
        table, first = self._tables["trials"], self.count(connection)
        inserted = connection.execute(
            sql.insert(table).returning(table.c.trial_id, sort_by_parameter_order=True),
            [
                {
                    "number": first + index,
                    "study_id": self._id,
                    "state": trial.state.name,
                    "datetime_start": trial.datetime_start,
                    "datetime_complete": trial.datetime_complete,
                }
                for index, trial in enumerate(trials)
            ],
        ).scalars()
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES[1:]}
        for trial_id, member, trial in zip(inserted, members, trials, strict=True):
            key = {"trial_id": trial_id}
            rows["trial_values"] += [
                key | {"objective": number, "value": value, "value_type": "FINITE"}
                for number, value in enumerate(trial.values)
            ]
            rows["trial_params"] += [
                # A categorical parameter is stored as the index of its value.
                key | {"param_name": layer, "param_value": gene, "distribution_json": self._distribution}
                for layer, gene in zip(self._layers, member.genome, strict=True)
            ]
            # The dashboard knows constraints without names only; Optuna reads both, and takes them for different ones.
            system_attrs = trial.system_attrs | {"constraints": list(trial.constraints.values())}
            for kind, found in (("user", trial.user_attrs), ("system", system_attrs)):
                rows[f"trial_{kind}_attributes"] += [
                    key | {"key": name, "value_json": json.dumps(value)} for name, value in found.items()
                ]
        for name, values in rows.items():
            if values:
                connection.execute(sql.insert(self._tables[name]), values)

    def _trial(self, member: Scored, attributes: Mapping[str, Any]) -> FrozenTrial:
        """The trial without its parameters, which Optuna would check one by one."""
        archive = self._archive
        known = {
            "architecture": member.architecture,
            "generation": member.generation,
            "extrapolated": member.extrapolated,
        }
        return create_trial(
            state=TrialState.COMPLETE,
            values=[member.values[quantity] for quantity in archive.objectives],
            user_attrs=known | member.values | dict(attributes),
            constraints={
                f"limit on {quantity}: {limit:g}": excess(quantity, member.values[quantity], limit)
                for quantity, limit in archive.limits.items()
            },
        )


def _storage_of(engine: Engine) -> optuna.storages.RDBStorage:
    """Optuna's view of the engine's database."""
    if engine.url.get_backend_name() != "sqlite":
        return optuna.storages.RDBStorage(engine.url.render_as_string(hide_password=False))
    # Optuna takes a text only, in which `?`, `%`, `#` and braces of a path would mean something.
    path = engine.url.database or ""
    kwargs = {"creator": lambda: sqlite3.connect(path, timeout=PATIENCE_SECONDS), "poolclass": sql.NullPool}
    return optuna.storages.RDBStorage("sqlite://", kwargs)
