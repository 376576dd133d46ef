"""How well a few timings tell a new device: `python -m fairnas.experiments.warm_start --data CSV --truth CSV`.

Two studies, written to one results file. *Devices*: whole networks of NAS-Bench-201, measured by others on six real
devices; each is left out in turn and predicted from the five others and 10 to 50 of its own timings, beside regression
on multiply-adds given the same timings. *Host*: blocks of search space (b), as `scaled_table` scales them, against
measuring every one; the two devices are one processor in fp32 and in int8.

A new device is a mixture of known ones: latencies as sums (of known latencies, and of prices of operations) or as
products (of powers of known latencies and of multiply-adds), no coefficient negative. Which method is used for a
device and a number of timings is decided on the other devices alone, each of them left out in its turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, t
from sklearn.preprocessing import StandardScaler

from ..common.files import sha256_file, write_json
from ..latency_tables.devices.host import HostDevice
from ..latency_tables.errors import LatencyError
from ..latency_tables.measuring import Rounds
from ..latency_tables.profiler import profile_blocks
from ..latency_tables.table_parts import Precision
from ..latency_tables.warm_start import block_points, leave_one_out, scale, spread_choice
from ..models import Block, get_space
from .warm_start_methods import BASELINES, METHODS, OPERATIONS, Networks, used_macs, used_operations

DEFAULT_RESULTS = Path(__file__).parent.parent / "results" / "warm_start.json"
TIMINGS = (10, 20, 50)

_NOT_DEVICES = ("index", "arch")
_CANDIDATES = 3000  # of which the timed networks are chosen
_SELECTION_DRAWS = 5


def read_networks(latencies: Path, truth: Path) -> Networks:
    """Read measured latencies (`arch`, a column per device) and costs (`arch`, `conv_mflops`), row by row the same.

    Raises:
        LatencyError: a file cannot be read, or they do not describe the same architectures.
    """
    measured, costs = _read_rows(latencies), _read_rows(truth)
    try:
        names = [row["arch"] for row in measured]
        if not names or names != [row["arch"] for row in costs]:
            raise LatencyError(f"{latencies} and {truth} do not list the same architectures in the same order")
        devices = tuple(column for column in measured[0] if column not in _NOT_DEVICES)
        latency_ms = np.array([[float(row[device]) for device in devices] for row in measured])
        macs = np.array([float(row["conv_mflops"]) for row in costs])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, LatencyError):
            raise
        raise LatencyError(f"{latencies} or {truth} is not a table of measured architectures ({error!r})") from error
    if latency_ms.min() <= 0 or macs.min() <= 0:
        raise LatencyError(f"{latencies} or {truth} holds a latency or a cost that is not positive")
    used = [used_operations(name) for name in names]
    operations = np.array([[name.count(operation) for operation in OPERATIONS] for name in used], dtype=float)
    connected = np.array([name.strip("0") != "" for name in used])
    return Networks(devices, latency_ms, used_macs(names, used, macs), operations, connected)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise LatencyError(f"cannot read {path}: {error}") from error


def choose_networks(known: Networks, count: int, draw: int, how: str) -> np.ndarray:
    """Which networks to time, `[count]`: `random`, or `spread` over their latencies on the known devices."""
    rng = np.random.default_rng(draw)
    if how == "random":
        return rng.choice(len(known.macs), count, replace=False)
    candidates = rng.choice(len(known.macs), min(_CANDIDATES, len(known.macs)), replace=False)
    points = StandardScaler().fit_transform(np.log(known.latency_ms[candidates]))
    return candidates[spread_choice(points, count, seed=draw)]


def select_method(known: Networks, count: int, how: str = "spread") -> str:
    """The method with the least mean logarithm of MAPE when each known device is left out; no other device is seen."""
    scores: dict[str, list[float]] = {name: [] for name in METHODS}
    for device in known.devices:
        rest, truth = _split(known, device)
        for draw in range(_SELECTION_DRAWS):
            timed = choose_networks(rest, count, draw, how)
            for name, method in METHODS.items():
                predicted = method(rest, timed, truth[timed])
                scores[name].append(float(np.log(_errors(predicted, truth, timed).mean())))
    return min(scores, key=lambda name: float(np.mean(scores[name])))


def leave_out(networks: Networks, device: str, count: int, draws: int) -> dict[str, Any]:
    """Predict one device from the others and `count` timings, `draws` times.

    Returns:
        Means, standard deviations and intervals (95%, of the mean, Student) over draws: ours, by the chosen method,
        and regression on multiply-adds'; `random` holds those of timings drawn at random, `methods` the means of all.
    """
    known, truth = _split(networks, device)
    method = select_method(known, count)
    found: dict[str, Any] = {"method": method, "n": len(truth) - count, "draws": draws}
    by_choice: dict[str, dict[str, Any]] = {}
    for how in ("spread", "random"):
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in (*METHODS, *BASELINES)}
        for draw in range(draws):
            timed = choose_networks(known, count, draw, how)
            for name, predict in (METHODS | BASELINES).items():
                figures[name].append(_figures(predict(known, timed, truth[timed]), truth, timed, known))
        by_choice[how] = _compare(figures, method)
        if how == "spread":
            found["methods"] = {
                name: {key: _mean(figures[name], key) for key in ("spearman", "mape", "mape_connected")}
                for name in METHODS
            }
    return found | by_choice["spread"] | {"random": by_choice["random"]}


def _compare(figures: Mapping[str, Sequence[Mapping[str, float]]], method: str) -> dict[str, Any]:
    baseline = min(BASELINES, key=lambda name: _mean(figures[name], "mape_connected"))
    ours = {key: [draw[key] for draw in figures[method]] for key in figures[method][0]}
    theirs = {f"macs_{key}": [draw[key] for draw in figures[baseline]] for key in figures[baseline][0]}
    gains = {
        "spearman_gain": [a - b for a, b in zip(ours["spearman"], theirs["macs_spearman"], strict=True)],
        "mape_gain": [b - a for a, b in zip(ours["mape"], theirs["macs_mape"], strict=True)],
    }
    described: dict[str, Any] = {"macs_fit": baseline}
    for key, values in (ours | theirs | gains).items():
        described |= describe(key, values)
    return described


def describe(key: str, values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and 95% interval of the mean of one figure over draws."""
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5
    return {
        key: round(mean, 4),
        f"{key}_std": round(spread, 4),
        f"{key}_interval": [round(mean - half, 4), round(mean + half, 4)],
    }


def _mean(figures: Sequence[Mapping[str, float]], key: str) -> float:
    return round(float(np.mean([draw[key] for draw in figures])), 4)


def _split(networks: Networks, device: str) -> tuple[Networks, np.ndarray]:
    others = [other for other in networks.devices if other != device]
    return networks.on(others), networks.latency_ms[:, networks.devices.index(device)]


def _errors(predicted: np.ndarray, truth: np.ndarray, timed: np.ndarray) -> np.ndarray:
    return np.abs(np.delete(predicted, timed) / np.delete(truth, timed) - 1)


def _figures(predicted: np.ndarray, truth: np.ndarray, timed: np.ndarray, known: Networks) -> dict[str, float]:
    errors = _errors(predicted, truth, timed)
    ranks = [rankdata(np.delete(values, timed)) for values in (predicted, truth)]
    ranked = all(np.ptp(rank) > 0 for rank in ranks)
    return {
        "spearman": float(np.corrcoef(*ranks)[0, 1]) if ranked else 0.0,  # one price for all ranks nothing
        "mape": float(errors.mean()),
        "mape_connected": float(errors[np.delete(known.connected, timed)].mean()),
    }


def study_host(draws: int, rounds: int = 60, networks: int = 60) -> dict[str, Any]:
    """Scale every block of space (b) at 224 pixels in fp32 to int8 on this host, against measuring all of them.

    Returns:
        By number of timings: errors of the blocks that were not timed and of sums of blocks of random networks, ours,
        by the median ratio of the timings, and with blocks chosen at random; and what leave-one-out over the timings
        promised. `remeasure_mape`: how far another measurement of the int8 blocks lies off.
    """
    space = get_space("b")
    blocks = space.all_blocks(224)
    floats, ints, again = (_measured(blocks, rounds, precision) for precision in ("fp32", "int8", "int8"))
    places = {block: place for place, block in enumerate(blocks)}
    rng = np.random.default_rng(0)
    usage = np.zeros((networks, len(blocks)))
    for row in usage:
        for block in space.blocks(space.sample(rng), 224):
            row[places[block]] += 1
    fingerprint = HostDevice().fingerprint()
    return {
        "scaled": "fp32 to int8",
        "blocks": len(blocks),
        "networks": networks,
        "rounds": rounds,
        "protocol": "one thread, minimum of warm runs, rounds interleaved; sums use the times of the timed blocks",
        "remeasure_mape": round(float(np.abs(again / ints - 1).mean()), 4),
        "device": {key: fingerprint[key] for key in ("name", "machine", "cores", "runtime", "threads")},
        "timings": {str(count): _scale_pair(blocks, floats, ints, usage, count, draws) for count in TIMINGS},
    }


def _measured(blocks: Sequence[Block], rounds: int, precision: Precision) -> np.ndarray:
    """Shortest warm run of each block in ms, `[n]`."""
    table = profile_blocks(HostDevice(), blocks, Rounds(rounds, rounds), precision=precision)
    return np.array([table.blocks[block.signature].latency_ms for block in blocks])


def _scale_pair(
    blocks: Sequence[Block], base_ms: np.ndarray, truth: np.ndarray, usage: np.ndarray, count: int, draws: int
) -> dict[str, Any]:
    points = block_points(blocks, base_ms)
    figures: dict[str, list[float]] = {}

    def add(name: str, predicted: np.ndarray, timed: np.ndarray) -> None:
        table = predicted.copy()
        table[timed] = truth[timed]
        figures.setdefault(f"{name}mape", []).append(float(_errors(predicted, truth, timed).mean()))
        network_errors = np.abs(usage @ table / (usage @ truth) - 1)
        figures.setdefault(f"{name}network_mape", []).append(float(network_errors.mean()))

    for draw in range(draws):
        timed = spread_choice(points, count, seed=draw)
        add("", scale(points, base_ms, timed, truth[timed]), timed)
        add("ratio_", base_ms * np.median(truth[timed] / base_ms[timed]), timed)
        promised = np.abs(leave_one_out(points, base_ms, timed, truth[timed]))
        figures.setdefault("loo_mape", []).append(float(promised.mean()))
        drawn = np.random.default_rng(draw).choice(len(blocks), count, replace=False)
        add("random_", scale(points, base_ms, drawn, truth[drawn]), drawn)
    described: dict[str, Any] = {"n": len(blocks) - count, "draws": draws}
    for key, values in figures.items():
        described |= describe(key, values)
    return described


def to_markdown(results: Mapping[str, Any]) -> str:
    """The documentation's tables, from what `results/warm_start.json` holds."""
    devices = results["devices"]
    counts = list(next(iter(devices.values())))
    rows = [
        [device, count, *(_beside(found, key, form) for key, form in (("spearman", ".3f"), ("mape_connected", ".1%")))]
        for device, by_count in devices.items()
        for count, found in by_count.items()
    ]
    draws = devices[next(iter(devices))][counts[0]]["draws"]
    text = (
        "What `--from` does to blocks is tested by the second table; this one tests mixtures of several known devices, "
        f"for whole networks of NAS-Bench-201 on a device that is left out (mean over {draws} draws, ours / regression "
        "on multiply-adds with the same timings; relative error over networks whose output depends on the input):\n\n"
        + _markdown(["device", "timings", "Spearman", "mean error"], rows)
    )
    host = results.get("host")
    if host:
        keys = ("mape", "ratio_mape", "network_mape", "loo_mape")
        rows = [
            [count, *(f"{found[key]:.1%}" for key in keys), f"{host['remeasure_mape']:.1%}"]
            for count, found in host["timings"].items()
        ]
        text += (
            f"\n\nThe {host['blocks']} blocks of space (b) at 224 px, scaled from fp32 to int8 on one "
            f"processor ({host['device']['name']}), against measuring all of them:\n\n"
            + _markdown(
                [
                    "timings",
                    "blocks",
                    "by one ratio",
                    f"{host['networks']} networks",
                    "leave-one-out says",
                    "measuring again",
                ],
                rows,
            )
        )
    return text


def _beside(found: Mapping[str, Any], key: str, form: str) -> str:
    return f"{found[key]:{form}} / {found[f'macs_{key}']:{form}}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both studies, write the results and print them; 2 when the measurements cannot be used."""
    parser = argparse.ArgumentParser(description="How well a few timings tell a new device.")
    parser.add_argument("--data", type=Path, required=True, help="latencies: arch, and a column per device (ms)")
    parser.add_argument("--truth", type=Path, required=True, help="costs of the same architectures: arch, conv_mflops")
    parser.add_argument("--draws", type=int, default=20, help="how often timings are drawn (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=DEFAULT_RESULTS, help="results (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.draws < 2:
        parser.error("--draws must be at least 2: there is no spread of one draw")
    try:
        networks = read_networks(options.data, options.truth)
        host = study_host(options.draws)  # first: what follows keeps the machine busy
        devices = {
            device: {str(count): leave_out(networks, device, count, options.draws) for count in TIMINGS}
            for device in networks.devices
        }
        results = _document(networks, devices, host, options)
        write_json(options.out, results)
    except (LatencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"path": str(options.out)}))
    print(to_markdown(results))
    return 0


def _document(
    networks: Networks, devices: Mapping[str, Any], host: Mapping[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "devices": devices,
        "host": host,
        "protocol": {
            "networks": len(networks.macs),
            "not_connected": int((~networks.connected).sum()),
            "timings": list(TIMINGS),
            "choice": "medoids of k-means clusters of the known devices' log latencies, among "
            f"{_CANDIDATES} networks drawn by seed; `random` draws them uniformly",
            "method": "chosen on the known devices, each left out in turn: least mean log MAPE over "
            f"{_SELECTION_DRAWS} draws; methods and choices were first explored on the same six devices",
            "baseline": "multiply-adds, a line or a power law, whichever errs less; given the same timings",
            "interval": "95%, Student, of the mean over draws",
            "mape_connected": "only networks whose output depends on the input: runtimes drop all work of the others, "
            "which then take microseconds",
            "draws": options.draws,
        },
        "source": {
            "latencies": {"file": options.data.name, "sha256": sha256_file(options.data)},
            "costs": {"file": options.truth.name, "sha256": sha256_file(options.truth)},
        },
        "machine": {"processor": HostDevice().fingerprint()["name"], "machine": platform.machine()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "onnxruntime")},
        },
    }


if __name__ == "__main__":
    sys.exit(main())
