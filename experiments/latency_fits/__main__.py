"""Fit the shipped tables to published measurements: `python -m fairnas.experiments.latency_fits all --data FOLDER`.

All features that the measured blocks have are fitted. The list of features was settled after several hundred sets were
compared on all four devices, and it is not the best one for any of them. Pixel 1's few measurements cannot carry all of
them: its seven were chosen among some dozens of sets by the errors that are reported, which therefore flatter them;
`nested` is the error where features are chosen anew, by the computer, without the shapes that are then predicted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...common.files import write_json
from ...latency_tables.errors import LatencyError
from .shipped import SHIPPED

TABLES = Path(__file__).parents[2] / "latency_tables" / "tables"
RESULTS = Path(__file__).parents[2] / "results" / "latency_fits.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, fit, write tables and results, and print the errors; 2 when the measurements cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m fairnas.experiments.latency_fits",
        description="Fit the shipped latency tables to measured blocks.",
    )
    parser.add_argument("table", choices=["all", *SHIPPED], help="which table")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the published measurements")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where tables are written (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the results file (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        for name in SHIPPED if options.table == "all" else [options.table]:
            table, result = SHIPPED[name].fit(options.data)
            table.save(options.tables / f"{name}.json")
            results = _results(options.results) | {name: result}
            write_json(options.results, {known: results[known] for known in SHIPPED if known in results})
            print(_line(name, result))
    except (LatencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _results(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LatencyError(f"results file {path} is damaged ({error}): restore or delete it") from error


def _line(name: str, result: dict[str, Any]) -> str:
    text = f"{name}: {_errors(result)}, {result['groups']} groups ({result['by']})"
    if result["choice_blocks"]["n"] < result["n"]:
        text += f"\n  without stem, head and classifier: {_errors(result['choice_blocks'])}"
    if "nasbench201" in result:
        networks, rest = result["nasbench201"], result["rest_of_fbnet"]
        text += (
            f"\n  {networks['n']} NAS-Bench-201 networks: Spearman {networks['spearman']:.3f}, scaled error "
            f"{networks['scaled_mape']:.1%} (multiply-adds: {networks['madds_spearman']:.3f}, "
            f"{networks['madds_scaled_mape']:.1%}), bias {networks['bias']:+.1%}"
            f"\n  FBNet without its blocks: predicted {rest['predicted_ms']:.2f} ms, measured {rest['measured_ms']:.2f}"
        )
    return text


def _errors(summary: dict[str, Any]) -> str:
    text = (
        f"{summary['n']} measurements, error of the fit {summary['fit_mape']:.2%}, leave-one-out "
        f"{summary['loo_mape']:.2%} (90% below {summary['loo_p90']:.1%}), groups held out "
        f"{summary['grouped_mape']:.2%} (90% below {summary['grouped_p90']:.1%})"
    )
    if "nested_mape" in summary:
        text += f", features chosen anew {summary['nested_mape']:.2%} (90% below {summary['nested_p90']:.1%})"
    return text


if __name__ == "__main__":
    sys.exit(main())
