"""An LSTM that proposes values of genes, trained by PPO (Schulman et al. 2017) on what its proposals were worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .interface import Genome
from .packing import pack, unpack

if TYPE_CHECKING:
    from ..algorithm_settings import ControllerConfig


@dataclass
class Proposals:
    """What the controller was shown and answered, one row per genome.

    Attributes:
        present: `[n, layers]`, the genome before; `Controller.none` stands for a gene that had no value.
        genes: `[n, layers]`, the genes that were open.
        chosen: `[n, layers]`, the genome after.
        log_probability: `[n, layers]`, of each chosen value under the policy that chose it; 0 for closed genes.
    """

    present: np.ndarray
    genes: np.ndarray
    chosen: np.ndarray
    log_probability: np.ndarray

    @classmethod
    def none(cls, layers: int) -> Proposals:
        """No rows."""
        empty = np.empty((0, layers), dtype=np.int64)
        return cls(empty, empty.astype(bool), empty, empty.astype(np.float32))

    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rows(self, index: Sequence[int]) -> Proposals:
        """Some of the rows."""
        return Proposals(**{name: array[list(index)] for name, array in self.arrays().items()})

    def __add__(self, other: Proposals) -> Proposals:
        theirs = other.arrays()
        return Proposals(**{name: np.concatenate([array, theirs[name]]) for name, array in self.arrays().items()})


class Controller:
    """Fills open genes from left to right, given the genome before and what it has chosen so far.

    An untrained controller proposes all values alike: its last layer starts at zero.

    Args:
        genes: number of values of each gene.
        settings: sizes, and how it is trained.
        seed: of its weights. Proposals use the search's generator.

    Attributes:
        none: what stands for no value yet.
    """

    def __init__(self, genes: Sequence[int], settings: ControllerConfig, seed: int) -> None:
        self.none, self.settings = max(genes), settings
        generator = torch.Generator().manual_seed(seed)
        self.policy = Policy(genes, settings.embedding, settings.hidden, generator)
        self._optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.lr)
        self._baseline: float | None = None
        self._nothing = Proposals.none(len(genes))
        self._pending = self._nothing

    def propose(self, genomes: np.ndarray, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """New values for the open genes, and remember the proposals until their worth is told.

        Args:
            genomes: `[n, layers]`; the value `none` stands for none yet.
            genes: `[n, layers]`, which are open. A value there is replaced by another one, if there is another.
            rng: of the search.

        Returns:
            Genomes `[n, layers]`.
        """
        with _one_thread(), torch.no_grad():
            chosen, log_probability = self.policy.sample(
                torch.from_numpy(genomes),
                torch.from_numpy(genes),
                torch.from_numpy(rng.random(genomes.shape, dtype=np.float32)),
            )
        self._pending += Proposals(genomes, genes, chosen.numpy(), log_probability.numpy())
        return chosen.numpy().copy()

    def learn(self, genomes: Sequence[Genome], rewards: np.ndarray) -> None:
        """PPO on those of the genomes that it proposed since it last learnt.

        Args:
            genomes: that were scored.
            rewards: `[n]`, of those genomes; only their differences count.
        """
        reward_of = dict(zip(genomes, rewards.tolist(), strict=True))
        # Of a genome that was proposed twice, the first proposal counts.
        row_of: dict[Genome, int] = {}
        for row, genome in enumerate(map(tuple, self._pending.chosen.tolist())):
            if genome in reward_of:
                row_of.setdefault(genome, row)
        proposals = self._pending.rows(list(row_of.values()))
        self._pending = self._nothing
        if row_of:
            self._improve(proposals, np.array([reward_of[genome] for genome in row_of]))

    def _improve(self, proposals: Proposals, rewards: np.ndarray) -> None:
        settings = self.settings
        mean = float(rewards.mean())
        baseline = mean if self._baseline is None else self._baseline
        self._baseline = settings.baseline_decay * baseline + (1 - settings.baseline_decay) * mean
        spread = float(rewards.std())
        advantages = torch.from_numpy((rewards - baseline) / (spread or 1.0)).float()[:, None]
        present, genes, chosen, before = (torch.from_numpy(array) for array in proposals.arrays().values())
        with _one_thread(), torch.enable_grad():
            for _ in range(settings.epochs):
                log_probabilities = self.policy(present, genes, chosen)
                now = log_probabilities.gather(-1, chosen[..., None])[..., 0]
                ratio = (now - before).exp()
                clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
                gain = torch.minimum(ratio * advantages, clipped * advantages)
                entropy = -(log_probabilities.exp() * log_probabilities.clamp(min=-1e4)).sum(dim=-1)
                loss = -(gain + settings.entropy * entropy)[genes].mean()
                self._optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.policy.parameters(), settings.gradient_norm)
                self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        adam = self._optimizer.state_dict()["state"]
        return {
            "weights": {name: pack(weight.numpy()) for name, weight in self.policy.state_dict().items()},
            "adam": {str(index): {name: pack(v.numpy()) for name, v in slot.items()} for index, slot in adam.items()},
            "baseline": self._baseline,
            "pending": {name: pack(array) for name, array in self._pending.arrays().items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.policy.load_state_dict({name: torch.from_numpy(unpack(w)) for name, w in state["weights"].items()})
        adam = {
            int(index): {name: torch.from_numpy(unpack(value)) for name, value in slot.items()}
            for index, slot in state["adam"].items()
        }
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": adam})
        self._baseline = state["baseline"]
        self._pending = Proposals(**{name: unpack(array) for name, array in state["pending"].items()})


class Policy(nn.Module):
    """The LSTM: reads the gene's place, its value before and the value chosen one gene earlier.

    Args:
        genes: number of values of each gene; the largest is `choices`, for which there is a probability everywhere.
        embedding: numbers that stand for a value.
        hidden: units of the LSTM.
        generator: of the weights.
    """

    def __init__(self, genes: Sequence[int], embedding: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        layers, choices = len(genes), max(genes)
        self.choices, self.hidden = choices, hidden
        self._counts = torch.tensor(genes)
        # Built without memory first: PyTorch's own initialisation would draw from, and disturb, the global generator.
        with torch.device("meta"):
            self.place = nn.Embedding(layers, embedding)
            self.present = nn.Embedding(2 * (choices + 1), embedding)
            self.previous = nn.Embedding(choices + 1, embedding)
            self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
            self.head = nn.Linear(hidden, choices)
        self.to_empty(device="cpu")
        bound = hidden**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, present: Tensor, genes: Tensor, chosen: Tensor) -> Tensor:
        """Log-probabilities `[n, layers, choices]` of all values, given `chosen` `[n, layers]` before each gene."""
        first = torch.full_like(chosen[:, :1], self.choices)
        previous = torch.cat([first, chosen[:, :-1]], dim=1)
        places = torch.arange(present.shape[1])
        hidden, _ = self.lstm(self._inputs(present, genes, previous, places))
        return self._log_probabilities(hidden, present, genes, places)

    def sample(self, present: Tensor, genes: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Draw values gene by gene.

        Args:
            present: `[n, layers]`.
            genes: `[n, layers]`, which are open.
            uniform: `[n, layers]`, numbers in 0..1 that decide.

        Returns:
            Values and their log-probabilities, `[n, layers]` each.
        """
        count, layers = present.shape
        chosen, log_probability = torch.empty_like(present), torch.empty_like(uniform)
        previous = torch.full((count, 1), self.choices)
        memory = (torch.zeros(1, count, self.hidden), torch.zeros(1, count, self.hidden))
        for layer in range(layers):
            here, place = slice(layer, layer + 1), torch.tensor([layer])
            inputs = self._inputs(present[:, here], genes[:, here], previous, place)
            hidden, memory = self.lstm(inputs, memory)
            log_probabilities = self._log_probabilities(hidden, present[:, here], genes[:, here], place)[:, 0]
            previous = _draw(log_probabilities, uniform[:, here])
            chosen[:, here], log_probability[:, here] = previous, log_probabilities.gather(1, previous)
        return chosen, log_probability

    def _inputs(self, present: Tensor, genes: Tensor, previous: Tensor, places: Tensor) -> Tensor:
        state = present + genes * (self.choices + 1)
        return self.place(places) + self.present(state) + self.previous(previous)

    def _log_probabilities(self, hidden: Tensor, present: Tensor, genes: Tensor, places: Tensor) -> Tensor:
        """An open gene never keeps its value, where it has another one; a closed one always does."""
        values, counts = torch.arange(self.choices), self._counts[places][:, None]
        same = present[..., None] == values
        allowed = (values < counts) & (~same | (counts == 1))
        return self.head(hidden).masked_fill(~torch.where(genes[..., None], allowed, same), -1e9).log_softmax(dim=-1)


def _draw(log_probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Values `[n, 1]` by inverting the distribution functions `[n, choices]`."""
    cumulative = log_probabilities.double().exp().cumsum(dim=1)
    # Scaled by the last entry: rounding must not leave a gap below 1 that no value covers.
    return (cumulative <= uniform * cumulative[:, -1:]).sum(dim=1, keepdim=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums must not depend on how many threads share them; for matrices this small one is also the fastest."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
