"""How far the supernet's ranking can be trusted: the certificate where there is one, else what little the run shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ...exporters.pages.formatting import count, duration, number, percent
from ..ranking.summary import COSTS, source_in_words, spacing_in_words
from . import trust_figures
from .figures import Plot
from .run_files import RunFiles, as_dict, as_list

FIGURES = {"tau_b": "Kendall tau-b", "spearman": "Spearman", "pairwise_accuracy": "Pairwise accuracy"}
"""What the figures of a certificate are called."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with its interval, as text."""

    name: str
    n: str
    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class Top:
    """True accuracy of what the score puts first, beside as many at random, as text."""

    k: str
    oneshot: str
    rank: str
    random: str
    best: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What `fairnas rank` found.

    Attributes:
        certain: whether tau-b is above 0 with its whole interval.
        certain_of_the_better: the same among the better half, where a search ends up; None where that is not known.
        outdated: whether the supernet was trained again since.
        agreeing: share of the pairs that the scores order as the truth does.
        rows: the figures, then tau-b of parts that are harder to rank and of the batch-norm modes.
    """

    n: str
    certain: bool
    certain_of_the_better: bool | None
    outdated: bool
    agreeing: str
    rows: list[Row]
    top: list[Top]
    facts: list[tuple[str, str]]
    plots: list[Plot]


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike the choice blocks are.

    Attributes:
        least: smallest similarity of two blocks of the first layer.
        picture: of their feature maps, as a data address; empty where there is none.
    """

    plot: Plot
    where: str
    least: float | None
    choices: list[str]
    picture: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The section's content.

    Attributes:
        picks: name, one-shot and retrained top-1.
        alike: pairs of picks that both put in the same order.
        pairs: pairs of picks.
        needs_table: whether the space's networks cannot be trained here, so that only a table can tell the truth.
    """

    certificate: Certificate | None
    picks: list[tuple[str, float, float]]
    alike: int
    pairs: int
    needs_table: bool
    similarity: Similarity | None
    lemma: Plot | None


def trust(run: RunFiles) -> Trust:
    """Everything that the run's files say about the supernet's ranking."""
    found = [
        (pick["name"], number(pick.get("accuracy")), number(run.retrain_results.get(pick["name"], {}).get("val_top1")))
        for pick in run.picks
    ]
    picks = [(name, oneshot, top1) for name, oneshot, top1 in found if oneshot is not None and top1 is not None]
    pairs = list(combinations(picks, 2))
    choices = len(as_list(run.fairness.get("choices")))
    return Trust(
        certificate=_certificate(run),
        picks=picks,
        alike=sum((a[1] - b[1]) * (a[2] - b[2]) > 0 for a, b in pairs),
        pairs=len(pairs),
        needs_table=run.config.get("space") in ("macro", "nasbench201"),
        similarity=_similarity(run),
        lemma=trust_figures.lemma(choices, number(run.fairness.get("backward_passes"))) if choices > 1 else None,
    )


def _certificate(run: RunFiles) -> Certificate | None:
    content = run.certificate
    tau = as_dict(content.get("tau_b"))
    if not tau or number(content.get("n")) is None:
        return None
    rows = [_row(name, as_dict(content.get(key)), content) for key, name in FIGURES.items()]
    parts = [(f"{name} only", as_dict(part)) for name, part in as_dict(content.get("subsets")).items()]
    modes = [(f"batch norm: {mode.get('bn')}", mode) for mode in map(as_dict, as_list(content.get("bn_modes")))]
    sizes = as_dict(content.get("baselines")).items()
    parts += [(f"{COSTS.get(name, name)} alone, for comparison", as_dict(part)) for name, part in sizes]
    rows += [_row(f"tau-b, {name}", as_dict(part.get("tau_b")), part) for name, part in parts + modes]
    better = as_dict(dict(parts).get("better half only", {}).get("tau_b"))
    selection = as_dict(content.get("selection"))
    plots = (trust_figures.scatter(run.ranked), trust_figures.budget(as_dict(selection.get("budget"))))
    return Certificate(
        n=count(content.get("n")),
        certain=_above_chance(tau),
        certain_of_the_better=_above_chance(better) if better else None,
        outdated=_outdated(run),
        agreeing=percent(as_dict(content.get("pairwise_accuracy")).get("value"), 0),
        rows=rows,
        top=[
            Top(
                count(row.get("k")),
                percent(row.get("oneshot"), 2),
                count(row.get("oneshot_rank")),
                percent(row.get("random"), 2),
                percent(selection.get("best"), 2),
            )
            for row in map(as_dict, as_list(selection.get("top")))
        ],
        facts=_facts(content),
        plots=[plot for plot in plots if plot is not None],
    )


def _above_chance(tau: Mapping[str, Any]) -> bool:
    return (number(tau.get("low")) or 0) > 0


def _row(name: str, figure: Mapping[str, Any], of: Mapping[str, Any]) -> Row:
    value, low, high = (number(figure.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return Row(name, count(of.get("n")), "undefined: one side has no order", "")
    interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return Row(name, count(of.get("n")), f"{value:.3f}", interval)


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the certificate came about: without this its figures mean little."""
    truth, protocol = as_dict(content.get("truth")), as_dict(content.get("protocol"))
    pairs, gap = as_dict(content.get("pairs")), as_dict(content.get("gap"))
    ranges = [
        f"{percent(low)} to {percent(high)}"
        for low, high in map(_ends, ("oneshot_range", "standalone_range"), [gap] * 2)
    ]
    return [
        ("Truth", source_in_words(truth)),
        ("Architectures", f"{count(content.get('n'))} of {count(protocol.get('of'))}: {spacing_in_words(protocol)}"),
        (
            "Pairs",
            f"{count(pairs.get('pairs'))}, of which {count(pairs.get('discordant'))} in the wrong order, "
            f"{count(pairs.get('tied_scores'))} tied in the scores, {count(pairs.get('tied_truth'))} in the truth",
        ),
        (
            "Scored on",
            f"{count(protocol.get('heldout_images'))} held-out images of {protocol.get('dataset')}, batch norm: "
            f"{protocol.get('bn')}",
        ),
        ("Intervals", f"{percent(content.get('confidence'), 0)}, {protocol.get('interval')}"),
        ("Ties", str(protocol.get("ties"))),
        ("One-shot range", ranges[0]),
        ("Stand-alone range", ranges[1]),
        ("Accuracy gap (lambda)", f"{percent(gap.get('lambda'))}, at this n"),
        ("Scoring took", duration(sum(filter(None, map(number, as_dict(content.get("seconds")).values()))))),
    ]


def _ends(key: str, gap: Mapping[str, Any]) -> tuple[Any, Any]:
    values = as_list(gap.get(key))
    return (values[0], values[1]) if len(values) == 2 else (None, None)


def _outdated(run: RunFiles) -> bool:
    """Whether the certificate is of another supernet than the run has now."""
    stages = as_dict(run.manifest.get("stages"))
    judged = as_dict(as_dict(stages.get("rank")).get("inputs")).get("supernet")
    present = as_dict(as_dict(stages.get("supernet")).get("outputs")).get("weights.safetensors")
    return judged is not None and present is not None and judged != present


def _similarity(run: RunFiles) -> Similarity | None:
    content = run.similarity
    choices, names = ([str(item) for item in as_list(content.get(key))] for key in ("choices", "names"))
    layers = [
        [[number(value) for value in as_list(row)] for row in as_list(layer)]
        for layer in as_list(content.get("layers"))
    ]
    square = all(len(layer) == len(choices) and all(len(row) == len(choices) for row in layer) for layer in layers)
    if not layers or not choices or not square or len(names) != len(layers):
        return None
    apart = [value for i, row in enumerate(layers[0]) for j, value in enumerate(row) if i != j and value is not None]
    where = str(content.get("where") or "layer")
    return Similarity(
        plot=trust_figures.similarity(layers, choices, names, where),
        where=where,
        least=min(apart, default=None),
        choices=choices,
        picture=run.feature_maps,
    )
