"""What commands that work on a run folder begin with: settings checked, images loaded, the folder held."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...common.text import shown
from ..console import console
from ..errors import UserError
from .interrupts import nothing_begun

if TYPE_CHECKING:
    from ...models import AnyNetwork
    from ..config import Config
    from ..pipeline import Pipeline


DEFAULT_PRESET = "quickstart"


def tell_of_settings(config: Config, given: Sequence[str]) -> None:
    """Say what of the settings people may not have meant."""
    from ..config import repeated_settings

    for key in repeated_settings(given):
        console.print(f"[yellow]{shown(key)} is given twice: the last one counts[/]")
    if config.latency.allow_unvalidated and not any(text.startswith("latency.allow_unvalidated") for text in given):
        console.print(f"[yellow]preset {shown(config.preset)}: a search takes also a table that failed its check[/]")


@contextmanager
def opened(
    target: str | None,
    preset: str,
    data: str | None,
    run: Path | None,
    overrides: list[str] | None,
    seed: int | None,
    force: str | None,
    networks: Mapping[str, AnyNetwork] | None = None,
) -> Iterator[Pipeline]:
    """The pipeline on its run folder. All that can be checked is checked before anything is written.

    What a look at names and folders shows comes first, before torch is imported.
    """
    from ..config import read_config
    from ..runs.folder import default_run
    from .quick_checks import check_command

    sources = [f"data.source={json.dumps(data)}"] if data is not None else []
    given = [*sources, *(overrides or [])]
    config = read_config(preset, given, target=target, seed=seed)
    folder = run or default_run(config.target, config.preset)
    check_command(config, folder, force)

    with nothing_begun():
        from .. import distributed
        from ..check_settings import check_settings
        from ..pipeline import Pipeline
        from ..runs.run import Run
        from ..runs.stage_names import forced_by
        from ..stages.context import open_dataset
        from ..stages.following import follow
        from ..stages.retrain import check_teacher
        from ..user_modules import check_survivable

        check_settings(config)
        for source in (networks or {}).values():
            check_survivable(source)
    with distributed.joined():
        if not distributed.is_first():
            follow(config)
            raise typer.Exit
        tell_of_settings(config, given)
        dataset = open_dataset(config)
        check_teacher(config, dataset)
        with Run(folder) as held:
            if force is not None:
                held.forced = forced_by(force)
            yield Pipeline(config, held, dataset)


def require_run(run: Path | None, preset: str | None, data: str | None, overrides: list[str] | None) -> None:
    """See `check_there_is_a_run`."""
    from .quick_checks import check_there_is_a_run

    check_there_is_a_run(run, preset, data, overrides or [])


def device_overrides(allow_unvalidated: bool, serial: str | None, host: str | None) -> list[str]:
    """Options that have a short form, as the settings they stand for."""
    allowed = ["latency.allow_unvalidated=true"] if allow_unvalidated else []
    given = {"serial": serial, "host": host}
    return allowed + [f"latency.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def export_overrides(
    formats: str | None, write_anyway: bool, sustained: float | None, sign_with: Path | None
) -> list[str]:
    """Options of `export` that have a short form, as the settings they stand for."""
    given = {
        "formats": formats.replace(" ", "").split(",") if formats is not None else None,
        "force": write_anyway or None,
        "sustained_s": sustained,
        "sign_with": str(sign_with) if sign_with is not None else None,
    }
    return [f"export.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def parse_networks(texts: list[str] | None) -> dict[str, AnyNetwork] | None:
    """Networks by the names of their folders; None where none is named.

    Raises:
        UserError: there is no such network.
    """
    if not texts:
        return None
    from ...models import parse_any_network

    try:
        parsed = [(text, parse_any_network(text)) for text in texts]
        from ..stages.networks import network_names  # only now: it takes seconds

        return network_names(parsed)
    except ValueError as error:
        raise UserError(str(error)) from None


def prepare(work: Pipeline, named: Mapping[str, AnyNetwork] | None) -> Mapping[str, AnyNetwork]:
    """Run what must come before retraining, and say which networks it is about."""
    if named is None:
        work.search()
        return work.picks()
    from ..stages.networks import ours

    if work.config.retrain.init == "inherited" and ours(named):
        work.supernet()
    return named
