"""Recovery by the real head: AdaptiveDecoders on states of prompts, many replications trained side by side.

    state of a prompt = centre of its kind + scatter · noise       centres and noise standard normal in H dimensions

With scatter 1.5 a prompt lies as far from its centre as the centres from each other, as measured for the embedded
model's states at the end of the gallery's prompts by family. The head is scored on prompts that had no vote.

`voted`      equation 10 on the states of the votes, the step with the lowest loss on held-out prompts
`distilled`  equation 10 on one table row a kind (`recovery.tabular`), then the head learns the rows of the kinds from the
             states alone: mean (log P(τ_k | h) − row_k)². It needs the kinds of the prompts, as a gallery names them

Shapes: R replications, G kinds of one replication, S states (G times the prompts of a kind), H state size, K temperatures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from models.adaptive_decoder import AdaptiveDecoder
from playground.training.simulation.recovery import Learner, Recovered, loss, score, tabular
from playground.training.simulation.voters import Voter, World, cast


@dataclass(frozen=True)
class HeadLearner:
    """AdamW on all states at once; every `look` steps the held-out loss decides whether the step is kept."""

    steps: int = 60
    look: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.2
    width: int = 64
    held_out: float = 0.2


@dataclass(frozen=True)
class States:
    """`prompts` at most of a kind have votes, `fresh` more are scored."""

    size: int = 32
    scatter: float = 1.5
    prompts: int = 30
    fresh: int = 10


@dataclass(frozen=True)
class Voted:
    """Votes on prompts: counts [R, S, K, K] at states [R, S, H]; states [R, F, H] of fresh prompts; kinds [R, G]."""

    wins: Tensor
    states: Tensor
    fresh: Tensor
    best: Tensor

    def by_kind(self) -> Tensor:
        """Counts [R · G, K, K] of each kind."""
        return self.wins.view(self.best.numel(), -1, *self.wins.shape[-2:]).sum(1)

    def scored(self, logprobs: Tensor, world: World) -> Recovered:
        """The score of log-probabilities [R, F, K] of the fresh prompts."""
        best = self.best.reshape(-1)
        return score(logprobs.reshape(len(best), -1, logprobs.shape[-1]), best, world.utility(best))


def vote(world: World, best: Tensor, count: int, voter: Voter, states: States, generator: torch.Generator) -> Voted:
    """`count` votes on every kind [R, G], each on a prompt drawn from its kind's."""
    replications, groups = best.shape
    prompts, temperatures = min(count, states.prompts), len(world.grid)
    votes = cast(world, best.reshape(-1), count, voter, generator)
    prompt = torch.randint(prompts, votes.chosen.shape, generator=generator)
    centre = torch.randn(replications, groups, 1, states.size, generator=generator)

    def near(number: int) -> Tensor:
        noise = torch.randn(replications, groups, number, states.size, generator=generator)
        return (centre + states.scatter * noise).flatten(1, 2)  # [R, G · number, H]

    wins = votes.wins(temperatures, prompt, prompts)
    return Voted(wins.view(replications, -1, temperatures, temperatures), near(prompts), near(states.fresh), best)


def voted(votes: Voted, learner: Learner, how: HeadLearner, seed: int) -> Tensor:
    """Log-probabilities [R, F, K] of the fresh prompts by heads that equation 10 taught."""
    heads = _Heads(votes.states, votes.wins.shape[-1], how, seed)
    place = torch.arange(votes.states.shape[1])
    held = place % round(1 / how.held_out) == 0

    def fit() -> Tensor:
        return loss(heads(votes.states[:, ~held]), votes.wins[:, ~held], learner)

    def off() -> Tensor:
        return loss(heads(votes.states[:, held]), votes.wins[:, held], Learner(learner.beta, pull=0, smooth=0))

    return heads.train(fit, off, votes.fresh)


def distilled(votes: Voted, learner: Learner, how: HeadLearner, seed: int) -> Tensor:
    """Log-probabilities [R, F, K] of the fresh prompts by heads that learned the rows of their kinds."""
    heads = _Heads(votes.states, votes.wins.shape[-1], how, seed)
    rows = tabular(votes.by_kind(), learner).view(*votes.best.shape, -1)  # [R, G, K]
    target = rows.repeat_interleave(votes.states.shape[1] // rows.shape[1], dim=1)  # [R, S, K]
    target = target / target.std((1, 2), keepdim=True)  # the scale of a row does not move its argmax

    def fit() -> Tensor:
        return (heads(votes.states) - target.log_softmax(-1)).square().mean((1, 2))

    return heads.train(fit, None, votes.fresh)


class _Heads:
    """R AdaptiveDecoders with stacked weights; calling them gives log-probabilities [R, S, K] of states [R, S, H]."""

    def __init__(self, states: Tensor, temperatures: int, how: HeadLearner, seed: int) -> None:
        decoders = []
        with torch.random.fork_rng(devices=[]):
            for number, at in enumerate(states):
                torch.manual_seed(seed + number)
                decoders.append(AdaptiveDecoder(states.shape[-1], temperatures, how.width, how.dropout))
                decoders[-1].standardise(at)
        self.weights, self.buffers = stack_module_state(decoders)
        self.shell, self.how, self.seed = decoders[0], how, seed
        self._each = vmap(self._one, randomness="different")

    def __call__(self, states: Tensor) -> Tensor:
        found: Tensor = self._each(self.weights, self.buffers, states)
        return found

    def train(self, fit: Callable[[], Tensor], off: Callable[[], Tensor] | None, fresh: Tensor) -> Tensor:
        """Minimises `fit` [R]; log-probabilities of `fresh` at each replication's lowest `off` [R], or at the last step."""
        how = self.how
        optimizer = torch.optim.AdamW(self.weights.values(), lr=how.learning_rate, weight_decay=how.weight_decay)
        best = self._read(fresh)
        lowest = torch.full((len(fresh),), torch.inf)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for step in range(1, how.steps + 1):
                self.shell.train()
                optimizer.zero_grad()
                fit().sum().backward()
                optimizer.step()
                if off is not None and step % how.look == 0:
                    self.shell.eval()
                    with torch.no_grad():
                        now = off()
                    best = torch.where((now < lowest)[:, None, None], self._read(fresh), best)
                    lowest = torch.minimum(lowest, now)
        return best if off is not None else self._read(fresh)

    @torch.no_grad()
    def _read(self, states: Tensor) -> Tensor:
        self.shell.eval()
        return self(states)

    def _one(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], states: Tensor) -> Tensor:
        found: Tensor = functional_call(self.shell, (weights, buffers), (states,))
        return found
