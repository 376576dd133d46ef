"""The story of a run: from images to deployable networks, one stage after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..models import AnyNetwork, Architecture
from .config import Config
from .export.subject import refuse_other_normalisation
from .retrain.transfer import Trained
from .stages import export as export_stage
from .stages import latency as latency_stage
from .stages import picks as picks_stage
from .stages import rank as rank_stage
from .stages import report as report_stage
from .stages import retrain as retrain_stage
from .stages import search as search_stage
from .stages import supernet as supernet_stage
from .stages.context import Context


class Pipeline(Context):
    """The stages of one run. Each method runs a stage, or finds it done, after the stages that it needs."""

    def everything(self) -> None:
        """All stages."""
        refuse_other_normalisation(self.config)
        self.search()
        picks = self.picks()
        self.retrain(picks)
        self.export(picks)
        self.report()

    def supernet(self) -> None:
        """Train the supernet and score random paths of it."""
        supernet_stage.run(self)

    def latency(self, named: Mapping[str, AnyNetwork] | None = None) -> None:
        """Measure the target's blocks, or take its table: those of the space, or of each named network of ours."""
        latency_stage.run(self, named)

    def search(self) -> None:
        """Search the supernet, and forget what was made of earlier picks."""
        search_stage.run(self)

    def picks(self) -> dict[str, Architecture]:
        """The final picks by name."""
        return picks_stage.picks_of(self)

    def check_trainable(self, networks: Mapping[str, AnyNetwork]) -> None:
        """Refuse networks whose weights the supernet cannot give, when they are asked of it."""
        retrain_stage.check_trainable(self, networks)

    def rank(self, table: Path | None = None, column: str | None = None) -> None:
        """Certify the supernet's ranking against true accuracies, of a table or of networks trained stand-alone."""
        rank_stage.run(self, table, column)

    def retrain(self, networks: Mapping[str, AnyNetwork], config: Config | None = None) -> None:
        """Train networks stand-alone, with the run's configuration or another."""
        retrain_stage.run(self, networks, config)

    def transfer(self, trained: Trained) -> str:
        """Train a network on these classes from weights of others, which the configuration names."""
        return retrain_stage.transfer(self, trained)

    def with_hard_swish(self, networks: Mapping[str, AnyNetwork]) -> dict[str, AnyNetwork]:
        """Fine-tune trained networks with hard-Swish in the place of Swish."""
        return retrain_stage.with_hard_swish(self, networks)

    def export(
        self, networks: Mapping[str, AnyNetwork], latency_of_each: bool = False, weights: Path | None = None
    ) -> None:
        """Export networks in the formats that the configuration, or else the target, names."""
        export_stage.run(self, networks, latency_of_each, weights)

    def report(self) -> None:
        """Write the page that shows the run."""
        report_stage.run(self)
