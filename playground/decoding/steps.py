"""From one batched draw to TokenSteps; all statistics are computed for all lanes at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.model import Model
from playground.decoding.policies.base import Decision, Drawn
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
) -> list[TokenStep]:
    """One TokenStep a row, its text still to come.

    `before` and `after` are the distributions at T = 1 and as drawn from; `decisions` are the policies', whose rows follow
    one another, `channels` the policies' own numbers of all rows (or of none).
    """
    ids, _ = before.largest(ALTERNATIVES)
    single = torch.stack([before.entropy, after.entropy, drawn.logprob, drawn.logprob_drawn], dim=1)
    figures = _digits(torch.cat([single, before.prob(ids), after.prob(ids)], dim=1))
    choices = [choice for decision in decisions for choice in _choices(decision)] or [NO_CHOICE] * len(figures)
    rows = zip(drawn.tokens.tolist(), temperature.tolist(), ids.tolist(), figures, choices, strict=True)
    return [
        TokenStep(
            position,
            token,
            "",
            heat,
            *choice,
            row[0],
            row[1],
            row[2],
            row[3],
            alternatives=tuple(
                map(Alternative, top, map(model.token_text, top), row[4 : 4 + len(top)], row[4 + len(top) :])
            ),
            channel={name: float32_digits(value) for name, value in channels[place].items()} if channels else {},
        )
        for place, (token, heat, top, row, choice) in enumerate(rows)
    ]


def _digits(values: Tensor) -> list[list[float]]:
    """`float32_digits` of every number of values [B, k]."""
    return [[float(f"{value:.9g}") for value in row] for row in values.float().tolist()]


def _choices(decision: Decision) -> list[Choice]:
    """For every row: the grid's index, its log-probability, and the grid's distribution."""
    if decision.grid_index is None or decision.grid_logprob is None or decision.grid_probs is None:
        return [NO_CHOICE] * len(decision.temperature)
    shares = _digits(torch.cat([decision.grid_logprob[:, None], decision.grid_probs], dim=1))
    return [
        (index, logprob, tuple(probs))
        for index, (logprob, *probs) in zip(decision.grid_index.tolist(), shares, strict=True)
    ]


def refuse_nan(top: Tensor, model: str, position: int) -> None:
    """Raises PlaygroundError where a row's largest logit is no number: nothing is drawn from it."""
    if not all(map(math.isfinite, top.tolist())):
        raise PlaygroundError(
            f"The model {model} produced NaN at token {position}; try --precision float32 or another model."
        )
