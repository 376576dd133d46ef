"""A certificate in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COSTS = {"madds": "multiply-adds", "params": "parameters"}
"""What costs are called."""


def in_words(certificate: Mapping[str, Any]) -> str:
    """What a person wants to know first."""
    protocol, pairs, gap = certificate["protocol"], certificate["pairs"], certificate["gap"]
    lines = [
        f"Kendall tau-b      {_figure(certificate['tau_b'])}",
        f"Spearman           {_figure(certificate['spearman'])}",
        f"pairwise accuracy  {_figure(certificate['pairwise_accuracy'])}",
        f"n = {certificate['n']:,} of {protocol['of']:,} architectures, {certificate['confidence']:.0%} intervals; "
        f"{pairs['discordant']:,} of {pairs['pairs']:,} pairs discordant, {pairs['tied_scores']:,} tied in the scores, "
        f"{pairs['tied_truth']:,} in the truth",
        f"truth: {source_in_words(certificate['truth'])}; architectures: {spacing_in_words(protocol)}",
    ]
    lines += [f"only the {name}: tau-b {_figure(part['tau_b'])}" for name, part in certificate["subsets"].items()]
    lines.append(
        "for comparison, tau-b of "
        + ", of ".join(
            f"{COSTS[name]} alone {_figure(part['tau_b'])}" for name, part in certificate["baselines"].items()
        )
    )
    for row in certificate["selection"]["top"]:
        what = "the best by score" if row["k"] == 1 else f"the best of the top {row['k']} by score"
        lines.append(
            f"{what}: true accuracy {row['oneshot']:.2%}, rank {row['oneshot_rank']:,}; at random "
            f"{row['random']:.2%}; the best of all {certificate['selection']['best']:.2%}"
        )
    lines.append(
        f"accuracy gap: one-shot range {gap['delta_oneshot']:.3f}, stand-alone {gap['delta_standalone']:.3f}, "
        f"lambda {gap['lambda']:.3f}"
    )
    modes = ", ".join(f"{row['bn']} {_figure(row['tau_b'])}" for row in certificate["bn_modes"])
    if modes:
        lines.append(f"tau-b by batch-norm mode (n = {certificate['bn_modes'][0]['n']}): {modes}")
    return "\n".join(lines)


def spacing_in_words(protocol: Mapping[str, Any]) -> str:
    """How the architectures were chosen."""
    by = (COSTS | {"truth": "true accuracy"}).get(str(protocol.get("spaced_by")))
    known = {
        "all": "all of them",
        "random": "at random",
        "quantiles": f"every k-th in the order of {by}",
        "even": f"evenly spaced over {by} (a wide spread, which raises tau)",
    }
    return known.get(str(protocol.get("spacing")), "")


def source_in_words(truth: Mapping[str, Any]) -> str:
    """Where the true accuracies come from."""
    if truth.get("kind") == "trained":
        return f"{truth.get('networks')} networks trained stand-alone from scratch, {truth.get('epochs')} epochs each"
    return f"{truth.get('file')}, column {truth.get('column')}"


def _figure(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "undefined (one side has no order)"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
