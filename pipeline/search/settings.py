"""Settings of the search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ...common.kinds import Number, OneOf, Secret, Text, Whole
from ...common.settings import Section
from .algorithm_settings import HierarchicalMutationConfig, MnasNetConfig, RegularizedEvolutionConfig
from .algorithms import ALGORITHMS
from .constraints import Constraint
from .quantities import Quantity


class SearchConfig(Section):
    """Search over the architectures of the space."""

    algorithm: Annotated[str, OneOf(ALGORITHMS)] = "nsga2-reinforced"
    population: Whole = Field(default=64, ge=4, le=100_000)
    generations: Whole = Field(ge=1, le=1_000_000)
    objectives: dict[Quantity, Literal["maximize", "minimize"]] = Field(
        default={"accuracy": "maximize", "latency_ms": "minimize"}
    )
    constraints: list[Text] = Field(
        default=["latency_ms<=median"],
        description="cost<=number, or <=median: what the median network of the space has; accuracy>=number",
    )
    picks: Whole = Field(default=3, ge=1, le=1000)
    workers: Whole | None = Field(
        default=None,
        ge=1,
        le=512,
        description="threads that score, each with a copy of the supernet; empty: one per core",
    )
    chunk: Whole = Field(
        default=16,
        ge=1,
        le=100_000,
        description="architectures that a worker scores together; a kill loses no more than those",
    )
    storage: Secret | None = Field(
        default=None,
        exclude=True,  # it decides nothing
        description="postgresql://USER@HOST/DATABASE, where several commands share the search",
    )
    crossover_probability: Number = Field(default=0.9, ge=0, le=1)
    mutation_probability: Number | None = Field(
        default=None, gt=0, le=1, description="per layer; empty means 1 / layers"
    )
    hierarchical_mutation: HierarchicalMutationConfig = HierarchicalMutationConfig()
    mnasnet: MnasNetConfig = MnasNetConfig()
    regularized_evolution: RegularizedEvolutionConfig = RegularizedEvolutionConfig()

    @field_validator("constraints")
    @classmethod
    def _constraints_parse(cls, value: list[str]) -> list[str]:
        constraints = [Constraint.parse(text) for text in value]
        quantities = [constraint.quantity for constraint in constraints]
        if len(set(quantities)) < len(quantities):
            raise ValueError("a quantity can be limited once")
        return [str(constraint) for constraint in constraints]

    @property
    def quantities(self) -> set[str]:
        """Everything that is aimed at or limited."""
        return {*self.objectives, *(constraint.quantity for constraint in self.parsed_constraints)}

    @property
    def parsed_constraints(self) -> list[Constraint]:
        """The constraints, read."""
        return [Constraint.parse(text) for text in self.constraints]

    @field_validator("objectives")
    @classmethod
    def _objectives_conflict(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) < 2:
            raise ValueError("a multi-objective search needs at least two objectives")
        return value
