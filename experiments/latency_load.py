"""`make experiment-latency-load`: what a latency table is worth where the machine was busy meanwhile, or is later.

Five tables of one space are measured while nothing else runs, and ten more while another process keeps every core busy
in bursts. A table must predict what the quiet ones predict, or say that it is not validated. Then 60 networks that no
table has seen are timed in sessions of their own, quiet and busy: intervals must hold nine of ten.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import write_json
from ..common.reading import read_json
from ..latency_tables import HostDevice, LatencyTable, Predictor, Rounds, calibration_networks, judge, measure_networks
from ..models import Architecture, Block, get_space
from ..pipeline.errors import UserError
from ..pipeline.runs.provenance import ROOT, commit, machine
from ..pipeline.runs.run import versions

SPACE, WIDTH, RESOLUTION, CLASSES = "b", 0.5, 64, 1000
QUIET_TABLES, BUSY_TABLES, SESSIONS, NETWORKS = 5, 10, 3, 60
WITHIN = 0.03
"""How far the predictions of a validated table may be from those of quiet ones, on average over networks."""

_ROUNDS = Rounds(least=10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, write the results and print them."""
    parser = argparse.ArgumentParser(prog="fairnas.experiments.latency_load", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/latency-under-load"), help="of tables and times")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "latency_under_load.json")
    parser.add_argument("--time", type=Path, help=argparse.SUPPRESS)  # a process of its own: see `_timed`
    options = parser.parse_args(arguments)
    if options.time:
        write_json(options.time, _time_networks(options.time.with_suffix(".jsonl")))
        return 0
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _require_same_code(folder / "stamp.json")
    quiet = [_table(folder, f"quiet-{number}") for number in range(1, QUIET_TABLES + 1)]
    sessions = {"quiet": _sessions(folder, "quiet")}
    with _burning():
        busy = [_table(folder, f"busy-{number}") for number in range(1, BUSY_TABLES + 1)]
        sessions["busy"] = _sessions(folder, "busy")
    results = summarise(quiet, busy, sessions)
    write_json(options.out, results)
    print(to_markdown(results))
    return 0


def summarise(
    quiet: Sequence[LatencyTable], busy: Sequence[LatencyTable], sessions: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """What the tables say of networks, beside what the networks took.

    Args:
        quiet: measured while nothing else ran.
        busy: measured while other work came in bursts.
        sessions: the times of each session, see `_time_networks`, quiet ones and busy ones.
    """
    networks = networks_of_the_study()
    usual = np.median([_predictions(table, networks) for table in quiet], axis=0)
    profiles = [_compared(table, usual, networks) for table in busy]
    intervals = [
        {"table": number, "state": judge(table).state, "load": load, "session": session}
        | _coverage(table, networks, times)
        for load, several in sessions.items()
        for session, times in enumerate(several, start=1)
        for number, table in enumerate(quiet, start=1)
    ]
    device = {key: value for key, value in quiet[0].device.items() if key != "os"}
    return {
        "profiles_kept": sum(row["kept"] for row in profiles),
        "profiles_validated": sum(row["state"] == "validated" for row in profiles),
        "profiles_busy": profiles,
        "profiles_quiet": [_compared(table, usual, networks) for table in quiet],
        "coverage": {load: _pooled([row for row in intervals if row["load"] == load]) for load in sessions},
        "intervals": intervals,
        "sessions": {load: [_of_session(times) for times in several] for load, several in sessions.items()},
        "protocol": f"space {SPACE} at {RESOLUTION} px, width {WIDTH:g}, one thread; other work: one process for each "
        "core, all in bursts of 0.2 to 2 s with rests as long; 90% intervals of the quiet tables on "
        f"{NETWORKS} networks timed in other processes, of which those that settled are judged; "
        "each table's references are compared with those of the tables before it",
        "device": device,
        "machine": {key: value for key, value in machine().items() if key != "system"},
        "versions": versions(),
        "commit": commit(),
    }


def networks_of_the_study() -> dict[str, tuple[Block, ...]]:
    """Always the same networks, from small ones to large ones, of which no calibration has one."""
    space = get_space(SPACE).scaled(WIDTH)
    by_size = sorted(range(len(space.choices)), key=lambda index: space.cost(space.uniform(index)).madds)
    known = calibration_networks(space, 10)
    rng, chosen = np.random.default_rng(1), list[Architecture]()  # a profile draws its own with 0
    for lean in np.linspace(-2, 2, NETWORKS):
        odds = np.exp(lean * np.arange(len(by_size)))
        drawn = None
        while drawn is None or drawn in known or drawn in chosen:
            drawn = space.architecture(rng.choice(by_size, size=len(space.layers), p=odds / odds.sum()).tolist())
        chosen.append(drawn)
    return {str(architecture): space.blocks(architecture, RESOLUTION, CLASSES) for architecture in chosen}


def to_markdown(results: Mapping[str, Any]) -> str:
    """The results in a paragraph and a table."""
    lines = [
        f"{results['device']['name']}, {results['device']['runtime']}, {results['protocol']}.",
        "",
        "| measured | state | difference from quiet tables, mean | largest | why not validated |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for kind in ("quiet", "busy"):
        for number, row in enumerate(results[f"profiles_{kind}"], start=1):
            why = "" if row["state"] == "validated" else row["figure"].partition(":")[0]
            lines.append(
                f"| {kind} {number} | {row['state'].replace('unvalidated', 'not validated')} | "
                f"{row['difference_mean']:.1%} | {row['difference_largest']:.1%} | {why} |"
            )
    kept, of = results["profiles_kept"], len(results["profiles_busy"])
    validated = results["profiles_validated"]
    lines += [
        "",
        f"Busy: {kept} of {of} within {WITHIN:.0%} on average, or not validated ({validated} are validated).",
    ]
    for load, pooled in results["coverage"].items():
        of_load = results["sessions"][load]
        settled, timed = (sum(session[key] for session in of_load) for key in ("settled", "networks"))
        share = "none judged"
        if pooled["share"] is not None:
            by_session = ", ".join(f"{share:.0%}" for share in pooled["by_session"])
            share = f"{pooled['share']:.0%} of {pooled['judged']} pairs (by session: {by_session})"
        lines.append(
            f"Inside the 90% intervals of the {pooled['tables']} validated quiet tables, {len(of_load)} {load} "
            f"sessions ({settled} of {timed} times settled): {share}."
        )
    return "\n".join(lines)


def _compared(table: LatencyTable, usual: np.ndarray, networks: Mapping[str, Sequence[Block]]) -> dict[str, Any]:
    verdict = judge(table)
    differences = np.abs(_predictions(table, networks) / usual - 1)
    mean = float(differences.mean())
    told = table.steadiness
    return {
        "state": verdict.state,
        "figure": verdict.figure,
        "difference_mean": round(mean, 4),
        "difference_largest": round(float(differences.max()), 4),
        "kept": verdict.state != "validated" or mean <= WITHIN,
        "steadiness": told.model_dump(exclude={"references_ms", "earlier"}, exclude_none=True) if told else {},
    }


def _predictions(table: LatencyTable, networks: Mapping[str, Sequence[Block]]) -> np.ndarray:
    predictor = Predictor(table)
    return np.array([predictor.predict(blocks).latency_ms for blocks in networks.values()])


def _coverage(table: LatencyTable, networks: Mapping[str, Sequence[Block]], times: Mapping[str, Any]) -> dict[str, Any]:
    predictor = Predictor(table)
    judged = [name for name in networks if times[name]["settled"]]
    pairs = [(predictor.predict(networks[name]), times[name]["latency_ms"]) for name in judged]
    errors = [abs(prediction.latency_ms / measured - 1) for prediction, measured in pairs]
    return {
        "judged": len(judged),
        "inside": sum(prediction.low_ms <= measured <= prediction.high_ms for prediction, measured in pairs),
        "half_width": round(pairs[0][0].high_ms / pairs[0][0].latency_ms - 1, 4) if pairs else None,
        "mean_error": round(float(np.mean(errors)), 4) if pairs else None,
    }


def _pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the tables that are validated: the others claim nothing."""
    believed = [row for row in rows if row["state"] == "validated"]
    by_session = [_inside([row for row in believed if row["session"] == each]) for each in _unique(believed, "session")]
    inside, judged = (sum(pair[at] for pair in by_session) for at in (0, 1))
    return {
        "tables": len(_unique(believed, "table")),
        "inside": inside,
        "judged": judged,
        "share": round(inside / judged, 4) if judged else None,
        "by_session": [round(inside / judged, 4) for inside, judged in by_session if judged],
    }


def _inside(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    return sum(row["inside"] for row in rows), sum(row["judged"] for row in rows)


def _unique(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return sorted({row[key] for row in rows})


def _require_same_code(path: Path) -> None:
    """Refuse to go on with what another version measured: the results would carry this one's name.

    Raises:
        UserError: another commit or other packages began this study.
    """
    stamp = {"commit": commit(), "versions": versions()}
    if not path.exists():
        write_json(path, stamp)
    elif read_json(path) != stamp:
        raise UserError(f"{path.parent} was measured by another version: remove it, to measure all of it again")


def _of_session(times: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "networks": len(times),
        "settled": sum(bool(timing["settled"]) for timing in times.values()),
        "disturbed": round(float(np.mean([timing.get("disturbed", 0.0) for timing in times.values()])), 3),
        "others": round(float(np.mean([timing.get("others", 0.0) for timing in times.values()])), 3),
    }


def _table(folder: Path, name: str) -> LatencyTable:
    """Measure a table in a process of its own, unless it is there. Every one sees those that were measured before."""
    path = folder / "profiles" / name / "table.json"
    if not path.exists():
        size = ["--resolution", str(RESOLUTION), "--width", str(WIDTH), "--classes", str(CLASSES), "--space", SPACE]
        command = ["-m", "fairnas.pipeline.cli", "profile", "--target", "cpu", "--validate", *size]
        _run([*command, "--out", str(path.parent)], folder)
    return LatencyTable.load(path)


def _sessions(folder: Path, load: str) -> list[dict[str, Any]]:
    return [_timed(folder, f"{load}-{number}") for number in range(1, SESSIONS + 1)]


def _timed(folder: Path, name: str) -> dict[str, Any]:
    """Time the networks in a process of its own, unless that was done."""
    path = folder / f"{name}-networks.json"
    if not path.exists():
        _run(["-m", "fairnas.experiments.latency_load", "--time", str(path)], folder)
    return read_json(path)


def _time_networks(journal: Path) -> dict[str, Any]:
    timings = measure_networks(HostDevice(), networks_of_the_study(), _ROUNDS, journal=journal)
    return {name: timing.model_dump(exclude_none=True) for name, timing in timings.items()}


def _run(command: Sequence[str], folder: Path) -> None:
    subprocess.run([sys.executable, *command], cwd=folder, check=True)


@contextmanager
def _burning() -> Iterator[None]:
    """Other work, on every core."""
    script, start = str(Path(__file__).with_name("burner.py")), time.time()
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, script, "0", str(start), str(os.getpid())]
    burners = [subprocess.Popen(command, env=environment) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


if __name__ == "__main__":
    sys.exit(main())
