"""What a policy is: it decides the temperature of every row of its kind at once, one step at a time.

Shapes: B rows of one kind, V vocabulary, H hidden, K grid temperatures. Figures of a row are float64; what is as long as
the vocabulary has the precision of the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution, column
from playground.decoding.policies.spec import Spec
from playground.decoding.sampling import Uniforms, random_stream
from playground.decoding.trace import Noise, nine_digits
from playground.errors import PlaygroundError


@dataclass(frozen=True)
class Row:
    """One lane as its policy sees it: its spec and what keys its random streams.

    The stream that draws tokens and the one that draws temperatures are separate, so that a policy which starts or
    stops sampling its temperature leaves the token noise as it was. With shared noise the seed alone keys both.
    """

    spec: Spec
    replica: int = 0
    seed: int = 0
    noise: Noise = "own"

    def stream(self, purpose: Literal["token", "temperature"], replica: int | None = None) -> torch.Generator:
        """The stream keyed by sha256(seed, canonical spec, replica)."""
        own = (
            (self.seed,)
            if self.noise == "shared"
            else (self.seed, self.spec, self.replica if replica is None else replica)
        )
        return random_stream(*own) if purpose == "token" else random_stream(*own, purpose)


@dataclass(frozen=True)
class Head:
    """A learned predictor, as a policy uses it: log-probabilities [B, K] over `grid` from hidden states [B, H].

    `histogram` are the shares of each grid temperature that its card measured on held-out prompts, `matched` the constant
    temperature whose mean entropy equals the head's there, where that was calibrated.
    """

    id: str
    level: Literal["token", "sequence"]
    grid: tuple[float, ...]
    log_probs: Callable[[Tensor], Tensor]
    histogram: tuple[float, ...]
    matched: float | None = None


@dataclass(frozen=True)
class Predictor:
    """Any other learned predictor, as a policy uses it; what `call` takes and gives is its policy's affair.

    `settings` are the numbers of its meta that decoding needs.
    """

    id: str
    kind: str
    call: Callable[..., Tensor]
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Donor:
    """A finished lane that another follows: its temperatures, its entropies as drawn (nats), its raw logits [T, V]."""

    temperatures: Sequence[float]
    entropies_after: Sequence[float] = ()
    logits: Callable[[], Tensor] | None = None


def _nothing_trained(name: str, kind: str) -> Predictor:
    raise PlaygroundError(f"There is no checkpoint {name!r} for {kind!r} here; choose another policy.")


def _no_small_model(name: str) -> Any:
    raise PlaygroundError(
        "There is no small model here; name one with --small-model, or choose another policy.",
        "There is no small model here; choose another policy.",
    )


@dataclass(frozen=True)
class Resources:
    """What policies may draw on.

    head          an AdaptiveDecoder head by its checkpoint's name
    predictor     any other learned predictor by its checkpoint's name and the kind it must be
    small_model   the small model (decoding.model.Model) by its checkpoint's name
    donors        lanes that ran before, counted from 1
    """

    head: Callable[[str], Head]
    predictor: Callable[[str, str], Predictor] = _nothing_trained
    small_model: Callable[[str], Any] = _no_small_model
    donors: Mapping[int, Donor] = field(default_factory=dict)


@dataclass
class State:
    """Where the decoding of these rows stands. `uniforms` draws one number a row from its temperature stream.

    length               tokens a reply may have
    source_free          the next token's distribution without the source document, for a policy that needs it
    """

    rows: tuple[Row, ...]
    length: int = 128
    position: int = 0
    source_free: Distribution | None = None
    _numbers: Uniforms | None = None

    def uniforms(self) -> Tensor:
        if self._numbers is None:
            self._numbers = Uniforms([row.stream("temperature") for row in self.rows])
        return self._numbers.next()


@dataclass(frozen=True)
class Decision:
    """The temperature [B] of each row, and what a policy adds to the record.

    keep            [B, V] a mask, 1 for the tokens that may be drawn, before the filters; None keeps all
    grid_index      the chosen index of the grid for each row, with its log-probability and the distribution over the grid
    channel         further numbers [B] by name
    """

    temperature: Tensor
    keep: Tensor | None = None
    grid_index: Sequence[int] | None = None
    grid_logprob: Sequence[float] | None = None
    grid_probs: Sequence[Sequence[float]] | None = None
    channel: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """What each row drew: the token [B], its log-probability at T = 1 and in the distribution drawn from [B], in nats."""

    tokens: Tensor
    logprob: Tensor
    logprob_drawn: Tensor

    @classmethod
    def by(cls, u: Tensor, before: Distribution, after: Distribution) -> Drawn:
        """The tokens that u [B] draws from `after`; `before` is the distribution at T = 1."""
        tokens = after.draw(u)
        logits = before.logits_of(tokens)
        return cls(tokens, column(before.logprobs_of(logits)), column(after.logprobs_of(logits)))

    def of(self, start: int, stop: int) -> Drawn:
        """These rows alone."""
        return Drawn(self.tokens[start:stop], self.logprob[start:stop], self.logprob_drawn[start:stop])


class Policy:
    """Decides for all its rows at once.

    checkpoint, grid   stamped on their traces
    order              what is done to the logits before the filters, in this order; stamped on their traces
    needs_source       also reads the logits without the source document
    """

    checkpoint: str | None = None
    grid: tuple[float, ...] | None = None
    order: tuple[str, ...] = ("temperature",)
    needs_source: bool = False

    def order_of(self, row: Row) -> tuple[str, ...]:
        """The order of one row, where a knob of its spec leaves a step of `order` out."""
        return self.order

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        """The decision for the next token from its distribution at T = 1 and the state [B, H] that produced it."""
        raise NotImplementedError

    def observe(self, drawn: Drawn, state: State) -> Mapping[str, Tensor]:
        """What was drawn after `decide`; returns channels [B] that are known only now."""
        return {}


def checked(decision: Decision, rows: Sequence[Row], position: int) -> Decision:
    """The decision, its temperatures rounded to the nine digits that are recorded.

    PlaygroundError when one is not finite or below 0: nothing is drawn from it.
    """
    found = decision.temperature.tolist()
    for row, heat in zip(rows, found, strict=True):
        if not 0 <= heat < math.inf:
            raise PlaygroundError(
                f"Policy {row.spec.short!r} chose the temperature {heat} at token {position}; "
                f"a temperature must be a finite number of at least 0, so choose another policy or checkpoint."
            )
    rounded = [nine_digits(heat) for heat in found]
    if rounded == found:
        return decision
    return replace(decision, temperature=torch.tensor(rounded, dtype=torch.float64))
