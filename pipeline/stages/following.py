"""What torchrun's ranks other than the first do."""

from __future__ import annotations

from .. import distributed
from ..config import Config
from ..console import console
from ..retrain import train as retrain
from ..search.distributed_scoring import FollowingScorer
from ..search.scoring import SharedScorer
from ..supernet import train as train_supernet
from .context import open_dataset
from .search import threaded_scorer


def follow(config: Config) -> None:
    """What torchrun's ranks other than the first do: score and train what that one sends them."""
    console.quiet = True
    try:
        dataset = open_dataset(config)
        space = config.proxy_space

        def build(weights: bytes) -> SharedScorer:
            supernet = train_supernet.load_supernet(weights, space, len(dataset.classes))
            return threaded_scorer(supernet, dataset, config)

        scorer = FollowingScorer(build, space.architecture, dataset.digest)
        answers = {
            distributed.Message.SUPERNET: scorer.take_supernet,
            distributed.Message.SCORE: scorer.score,
            distributed.Message.TRAIN: lambda content: retrain.retrain_along(content, dataset),
        }
        distributed.follow(answers)
    finally:
        console.quiet = False
