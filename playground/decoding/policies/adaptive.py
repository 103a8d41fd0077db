"""`adaptive-token` and `adaptive-sequence`: a learned head chooses the temperature from a grid
(AdaptiveDecoder, Dhuliawala et al. 2024, arXiv 2411.09661).

    P(τ_k | h_t) = head(h_t),  k = 1 … K

Token level: at every step, from the state that also produces the logits. Sequence level: once, from the last prompt
token's state, for the whole reply. `select=argmax` is inference; `select=sample` makes training data. `select=quantile` takes
the first, coldest temperature with P(τ_1) + … + P(τ_k) ≥ quantile, the deterministic Q-exit of PALBERT (Balagansky &
Gavrilov 2022, arXiv 2204.03276), which that paper puts on the exit layer: unlike argmax it moves to a temperature between
two that the head is torn between.

Departure: replicas of one sequence-level spec sample without replacement (Gumbel top-k over one shared draw of noise,
replica r taking the r-th), since two arms of equal temperature teach nothing. The first replica follows P; a later one
follows it without what the earlier ones took, so only under a uniform head are all of them equally often at every one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution, column
from playground.decoding.policies.base import Decision, Head, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind
from playground.decoding.sampling import invert_cdf, uniform
from playground.errors import PlaygroundError


class Adaptive(Policy):
    """Rows that share one checkpoint; the engine groups them so."""

    def __init__(self, rows: tuple[Row, ...], resources: Resources, level: str) -> None:
        name = str(rows[0].spec.values["checkpoint"])
        head = resources.head(name)
        if head.level != level:
            raise PlaygroundError(
                f"Checkpoint {name!r} decides per {head.level}; use it with adaptive-{head.level}, or choose another checkpoint."
            )
        self.checkpoint, self.grid = head.id, head.grid
        self._head: Head = head
        self._select = [str(row.spec.values["select"]) for row in rows]
        self._quantile = [float(row.spec.values.get("quantile", 1.0)) for row in rows]

    def _choose(self, logprobs: Tensor, sampled: Tensor | None) -> Decision:
        rows: list[list[float]] = logprobs.tolist()
        probs = [[math.exp(logprob) for logprob in row] for row in rows]
        index = [row.index(max(row)) for row in rows]
        drawn: list[int] = index if sampled is None else sampled.tolist()
        for b, select in enumerate(self._select):
            if select == "sample":
                index[b] = drawn[b]
            elif select == "quantile":
                index[b] = _reached(probs[b], self._quantile[b])
        return Decision(
            temperature=column([self._head.grid[k] for k in index]),
            grid_index=index,
            grid_logprob=[row[k] for row, k in zip(rows, index, strict=True)],
            grid_probs=probs,
        )


class AdaptiveToken(Adaptive):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        super().__init__(rows, resources, "token")

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        logprobs = self._head.log_probs(hidden)
        if "sample" not in self._select:
            return self._choose(logprobs, None)
        return self._choose(logprobs, invert_cdf(logprobs.exp(), state.uniforms()))


class AdaptiveSequence(Adaptive):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        super().__init__(rows, resources, "sequence")
        self._rows = rows
        self._decision: Decision | None = None

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        if self._decision is None:
            logprobs = self._head.log_probs(hidden)
            draws = [_without_replacement(row, logprobs[b]) for b, row in enumerate(self._rows)]
            self._decision = self._choose(logprobs, torch.tensor(draws))
        return self._decision


def _reached(probs: Sequence[float], quantile: float) -> int:
    """The first index whose cumulative share of probs [K] is at least the quantile."""
    cumulative = list(accumulate(probs))
    return bisect_left(cumulative, quantile * cumulative[-1])


def _without_replacement(row: Row, logprobs: Tensor) -> int:
    """The r-th index [0, K) by log-probability [K] plus Gumbel noise that all replicas of the spec share."""
    rounds, rank = divmod(row.replica, len(logprobs))
    noise = uniform(row.stream("temperature", replica=rounds), len(logprobs))
    gumbel = -torch.log(-torch.log(noise.clamp(min=torch.finfo(torch.float64).tiny)))
    return int((logprobs + gumbel).argsort(descending=True, stable=True)[rank])


_SELECT = Key(
    "select",
    "choice",
    "argmax",
    "argmax: the likeliest temperature; sample: drawn from the head; quantile: the coldest one that reaches `quantile`",
    choices=("argmax", "sample", "quantile"),
)

_QUANTILE = Key(
    "quantile",
    "float",
    0.5,
    "the probability that the chosen temperature and all colder ones shall have together; only with select=quantile",
    0.0,
    1.0,
    low_open=True,
    only_with=("select", "quantile"),
)


def kind(level: str, default_checkpoint: str) -> PolicyKind:
    """The policy kind of one level, with the head it uses when none is named."""
    token = level == "token"
    return PolicyKind(
        name=f"adaptive-{level}",
        title=f"AdaptiveDecoder, per {'token' if token else 'reply'}",
        summary=(
            "A learned head reads the hidden state and picks a temperature for every token."
            if token
            else "A learned head reads the prompt and picks one temperature for the whole reply."
        ),
        formula="T = grid[argmax_k head(h_t)_k]" if token else "T = grid[argmax_k head(h_prompt)_k]",
        source="Dhuliawala et al. 2024, arXiv 2411.09661; quantile: Balagansky & Gavrilov 2022, arXiv 2204.03276",
        keys=(Key("checkpoint", "checkpoint", default_checkpoint, "the trained head"), _SELECT, _QUANTILE),
        build=AdaptiveToken if token else AdaptiveSequence,
        learned=f"adaptive-{level}",
        departure="hidden width 256 instead of 2048; "
        + ("trained by preferences between whole replies." if token else "replicas sample without replacement."),
    )
