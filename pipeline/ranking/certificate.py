"""Stage `rank`: the certificate that says how far one-shot scores can be trusted to rank architectures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...common.files import write_atomic, write_json
from ...models import AnySupernet, Architecture, any_space
from ..config import Config
from ..data import Dataset
from ..runs.run import Workspace
from ..supernet.scoring import PathScorer
from .journal import ScoreJournal
from .metrics import certify
from .selection import selection
from .truth import Truth

VERSION = 1
OUTPUTS = ("certificate.json", "scores.csv")

BN_MODES = ("none", "recalibrate", "batch")
_FEWEST = 10  # architectures of a part that is judged by itself
_JOURNAL = "journal.jsonl"


def write_certificate(
    supernet: AnySupernet,
    architectures: Sequence[Architecture],
    candidates: int,
    truth: Truth,
    trained: Mapping[str, Any],
    dataset: Dataset,
    config: Config,
    workspace: Workspace,
) -> None:
    """Score architectures in every batch-norm mode, and write `certificate.json` and `scores.csv`.

    Args:
        supernet: trained.
        architectures: which to score; all are in `truth`.
        candidates: how many they were chosen from.
        truth: their true accuracies.
        trained: facts about the supernet's training, which the certificate repeats.
        dataset: its held-out images score.
        config: the run's; `rank` says how.
        workspace: where to write; scores that a killed run left there are not computed again.
    """
    settings = config.rank
    journal = ScoreJournal(workspace.folder / _JOURNAL, workspace.owner.key)

    def score(mode: str, chosen: Sequence[Architecture]) -> np.ndarray:
        scoring = config.model_copy(update={"scoring": config.scoring.model_copy(update={"bn": mode})})
        return np.array(journal.score(mode, chosen, lambda: PathScorer(supernet, dataset, scoring)))

    scores = score(config.scoring.bn, architectures)
    true = np.array([truth.accuracies[architecture] for architecture in architectures])
    how = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    few = _spread_over(architectures, settings.bn_architectures)
    modes = [config.scoring.bn, *(mode for mode in BN_MODES if mode != config.scoring.bn)] if few else []
    true_few = np.array([truth.accuracies[architecture] for architecture in few])
    certificate = {
        "space": config.space,
        **certify(scores, true, **how),
        "confidence": settings.confidence,
        "truth": dict(truth.source),
        "protocol": {
            "architectures": len(architectures),
            "of": candidates,
            "spacing": settings.spacing if len(architectures) < candidates else "all",
            "spaced_by": settings.spaced_by if settings.spacing != "random" else None,
            "sample_seed": settings.seed,
            "bn": config.scoring.bn,
            "calibration_images": config.scoring.calibration_images,
            "heldout_images": len(dataset.heldout),
            "train_images": len(dataset.train),
            "dataset": dataset.name,
            "resolution": config.proxy.resolution,
            "width": config.proxy.width,
            "ties": "tau-b; in pairwise accuracy a tie of the scores counts 1/2, and pairs that the truth ties do not",
            "interval": f"percentile bootstrap over architectures, {settings.resamples:,} resamples",
        },
        "supernet": dict(trained),
        "subsets": {name: certify(scores[part], true[part], **how) for name, part in _subsets(architectures, true)},
        "baselines": {name: certify(values, true, **how) for name, values in _sizes(architectures, config, dataset)},
        "gap": accuracy_gap(scores, true),
        "selection": selection(scores, true),
        "bn_modes": [{"bn": mode, **certify(score(mode, few), true_few, **how)} for mode in modes],
        "seconds": {mode: round(seconds, 1) for mode, seconds in journal.seconds.items()},
    }
    write_atomic(workspace.folder / "scores.csv", _to_csv(architectures, scores, true))
    write_json(workspace.folder / "certificate.json", certificate)
    journal.remove()


def accuracy_gap(scores: np.ndarray, truth: np.ndarray) -> dict[str, float | list[float]]:
    """The supernet accuracy gap, lambda = |delta_oneshot - delta_standalone| (sec. 6.2), of these architectures.

    A range widens with the number of architectures, so gaps compare only at equal n.
    """
    oneshot, standalone = float(np.ptp(scores)), float(np.ptp(truth))
    return {
        "oneshot_range": [round(float(scores.min()), 6), round(float(scores.max()), 6)],
        "standalone_range": [round(float(truth.min()), 6), round(float(truth.max()), 6)],
        "delta_oneshot": round(oneshot, 6),
        "delta_standalone": round(standalone, 6),
        "lambda": round(abs(oneshot - standalone), 6),
    }


def _subsets(architectures: Sequence[Architecture], truth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Parts that are harder to rank than the whole, as masks: a high tau may come from easy pairs alone."""
    space = any_space(architectures[0].space)
    connected = np.array([space.is_connected(architecture) for architecture in architectures])
    parts = [("better half", truth >= np.median(truth)), ("connected", connected)]
    return [(name, part) for name, part in parts if _FEWEST <= part.sum() < len(truth)]


def _sizes(architectures: Sequence[Architecture], config: Config, dataset: Dataset) -> list[tuple[str, np.ndarray]]:
    """What ranks without any training: a supernet that orders no better than these is not worth its cost."""
    space = config.proxy_space
    costs = [space.cost(each, config.proxy.resolution, len(dataset.classes)) for each in architectures]
    return [(name, np.array([float(getattr(cost, name)) for cost in costs])) for name in ("params", "madds")]


def _spread_over(architectures: Sequence[Architecture], count: int) -> list[Architecture]:
    """Some of them, evenly over the list, or all."""
    places = np.unique(np.linspace(0, len(architectures) - 1, min(count, len(architectures))).round().astype(int))
    return [architectures[place] for place in places]


def _to_csv(architectures: Sequence[Architecture], scores: np.ndarray, truth: np.ndarray) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["architecture", "oneshot", "truth"])
    writer.writerows(zip(map(str, architectures), map(repr, scores.tolist()), map(repr, truth.tolist()), strict=True))
    return file.getvalue()
