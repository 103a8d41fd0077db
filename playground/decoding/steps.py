"""From one batched draw to TokenSteps; all statistics are computed for all lanes at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.model import Model
from playground.decoding.policies.base import Decision, Drawn
from playground.decoding.policies.spec import KEPT
from playground.decoding.trace import Alternative, TokenStep, float32_digits
from playground.errors import PlaygroundError

ALTERNATIVES = 5
Choice = tuple[int | None, float | None, tuple[float, ...] | None]
NO_CHOICE: Choice = (None, None, None)


def token_steps(
    model: Model,
    position: int,
    drawn: Drawn,
    temperature: Tensor,
    before: Distribution,
    after: Distribution,
    decisions: Sequence[Decision] = (),
    channels: Sequence[Mapping[str, float]] = (),
    cutting: Sequence[int] = (),
) -> list[TokenStep]:
    """One TokenStep a row, its text still to come.

    `before` and `after` are the distributions at T = 1 and as drawn from; `decisions` are the policies', whose rows follow
    one another, `channels` the policies' own numbers of all rows (or of none), `cutting` the rows whose lanes leave tokens
    out before the draw: those record how much is left.
    """
    channels = _with_kept(channels or [{}] * len(drawn.tokens), after, cutting)
    choices = [choice for decision in decisions for choice in _choices(decision)] or [NO_CHOICE] * len(drawn.tokens)
    figures = zip(before.entropies, after.entropies, drawn.logprob.tolist(), drawn.logprob_drawn.tolist(), strict=True)
    alternatives = _alternatives(model, before, after)
    rows = zip(drawn.tokens.tolist(), temperature.tolist(), choices, figures, alternatives, strict=True)
    return [
        TokenStep(
            position,
            token,
            "",
            heat,
            *choice,
            entropy=float32_digits(entropy),
            entropy_after=float32_digits(entropy_after),
            logprob=float32_digits(logprob),
            logprob_drawn=float32_digits(logprob_drawn),
            alternatives=few,
            channel={name: float32_digits(value) for name, value in channels[place].items()},
        )
        for place, (token, heat, choice, (entropy, entropy_after, logprob, logprob_drawn), few) in enumerate(rows)
    ]


def _with_kept(
    channels: Sequence[Mapping[str, float]], after: Distribution, cutting: Sequence[int]
) -> Sequence[Mapping[str, float]]:
    """The channels, in the rows that cut with the share of the mass and the number of tokens that are left."""
    if not cutting:
        return channels
    kept = dict(zip(cutting, after.kept(cutting), strict=True))
    names = [channel.name for channel in KEPT]
    return [{**own, **dict(zip(names, kept.get(row, ()), strict=False))} for row, own in enumerate(channels)]


def _alternatives(model: Model, before: Distribution, after: Distribution) -> list[tuple[Alternative, ...]]:
    """The most probable tokens at T = 1 of every row."""
    ids, _ = before.largest(ALTERNATIVES)
    rows = zip(ids.tolist(), before.prob(ids).tolist(), after.prob(ids).tolist(), strict=True)
    return [
        tuple(map(Alternative, top, map(model.token_text, top), map(float32_digits, p), map(float32_digits, q)))
        for top, p, q in rows
    ]


def _choices(decision: Decision) -> list[Choice]:
    """For every row: the grid's index, its log-probability, and the grid's distribution."""
    if decision.grid_index is None or decision.grid_logprob is None or decision.grid_probs is None:
        return [NO_CHOICE] * len(decision.temperature)
    rows = zip(decision.grid_index, decision.grid_logprob, decision.grid_probs, strict=True)
    return [(index, float32_digits(logprob), tuple(map(float32_digits, probs))) for index, logprob, probs in rows]


def refuse_nan(tops: Sequence[float], model: str, position: int) -> None:
    """Raises PlaygroundError where a row's largest logit is no number: nothing is drawn from it."""
    if not all(map(math.isfinite, tops)):
        raise PlaygroundError(
            f"The model {model} produced NaN at token {position}; try --precision float32 or another model.",
            f"The model {model} produced NaN at token {position}, so the run ends here; try another policy or prompt.",
        )
