"""The documentation's words about the fitted tables, from the results file."""

from __future__ import annotations

from typing import Any

_HEADER = ("device", "blocks", "n", "leave one out", "groups held out", "90% below", "refused or extrapolated")


def latency_fits_markdown(fits: dict[str, dict[str, Any]]) -> str:
    """All fits (`results/latency_fits.json`) in one table, their sources, and how they do on whole networks."""
    return "\n\n".join([_table(fits), _sources(fits), *_checks(fits), _published(fits)])


def _table(fits: dict[str, dict[str, Any]]) -> str:
    rows = [
        (
            f"{fit['device']} (`{name}`)",
            fit["blocks"],
            f"{fit['n']:,}",
            f"{fit['loo_mape']:.1%}",
            f"{fit['grouped_mape']:.1%}",
            f"{fit['grouped_p90']:.1%}",
            fit["unpriced"],
        )
        for name, fit in fits.items()
    ]
    lines = [_HEADER, ("---", "---", "---:", "---:", "---:", "---:", "---"), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sources(fits: dict[str, dict[str, Any]]) -> str:
    lines = [f"- `{name}`: {fit['source']}. Groups: {fit['by']}." for name, fit in fits.items()]
    return "\n".join(["Errors are mean absolute relative errors of held-out blocks.", "", *lines])


def _checks(fits: dict[str, dict[str, Any]]) -> list[str]:
    texts: list[str] = []
    for name, fit in fits.items():
        blocks = fit["choice_blocks"]
        if "nested_mape" in fit:
            texts.append(
                f"`{name}`: over its {blocks['n']} blocks without stem, head and classifier {blocks['loo_mape']:.1%} "
                f"and {blocks['grouped_mape']:.1%}. Its features were chosen by these errors; chosen anew without "
                f"the shapes that are then predicted, the error is {fit['nested_mape']:.1%} "
                f"({blocks['nested_mape']:.1%} over the blocks)."
            )
        if "network_factor" in fit:
            factor = fit["network_factor"]
            texts.append(
                f"`{name}` multiplies what blocks add up to by {factor['factor']:g}, and allows for "
                f"{factor['error']:.0%} of error in that, from {factor['source']}."
            )
        if "nasbench201" in fit:
            networks, rest = fit["nasbench201"], fit["rest_of_fbnet"]
            texts.append(
                f"`{name}` on {networks['n']:,} whole NAS-Bench-201 networks (dense 3x3 convolutions, which its blocks "
                f"do not have): Spearman {networks['spearman']:.3f}, error {networks['scaled_mape']:.1%} after one "
                f"common factor and {networks['mape']:.1%} (bias {networks['bias']:+.1%}) without; multiply-adds "
                f"alone: {networks['madds_spearman']:.3f} and {networks['madds_scaled_mape']:.1%}. FBNet without its "
                f"blocks: {rest['predicted_ms']:.2f} ms predicted, {rest['measured_ms']:.2f} ms measured."
            )
    return texts


def _published(fits: dict[str, dict[str, Any]]) -> str:
    """FairNAS-A, B and C on each device."""
    names = list(next(iter(fits.values()))["published_networks"])
    lines = [("at 224 px", *(f"`{name}`" for name in names)), ("---", *("---:" for _ in names))]
    for table, fit in fits.items():
        found = fit["published_networks"]
        mark = ", extrapolated" if any(network["extrapolated"] for network in found.values()) else ""
        cells = (
            f"{found[name]['latency_ms']:.1f} ms ({found[name]['low_ms']:.1f} to {found[name]['high_ms']:.1f})"
            for name in names
        )
        lines.append((f"`{table}`{mark}", *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
