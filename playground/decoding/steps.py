"""From one batched draw to TokenSteps; all statistics are computed for all lanes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.model import Model
from playground.decoding.policies.base import Decision, Drawn
from playground.decoding.sampling import entropy
from playground.decoding.trace import Alternative, TokenStep, float32_digits
from playground.errors import PlaygroundError

ALTERNATIVES = 5


def token_steps(
    model: Model,
    position: int,
    drawn: Drawn,
    temperature: Tensor,
    before: Tensor,
    after: Tensor,
    decisions: Sequence[tuple[list[int], Decision]] = (),
    channels: Sequence[Mapping[str, float]] = (),
) -> list[TokenStep]:
    """One TokenStep a row, its text still to come.

    `before` and `after` [B, V] are log-probabilities at T = 1 and as drawn from; `decisions` hold the grid choices of
    some rows, `channels` the policies' own numbers of all of them (or of none).
    """
    top = before.topk(min(ALTERNATIVES, before.shape[-1]), dim=-1)
    entropies = torch.stack([entropy(before), entropy(after)]).clamp(min=0.0).T.tolist()
    logprobs = torch.stack([drawn.logprob, drawn.logprob_drawn]).T.tolist()
    ids = top.indices.tolist()
    probs, probs_after = top.values.exp().tolist(), after.gather(-1, top.indices).exp().tolist()
    grids = {place: _choice(d, b) for places, d in decisions for b, place in enumerate(places)}
    steps = []
    for row, token in enumerate(drawn.tokens.tolist()):
        index, grid_logprob, grid_probs = grids.get(row, (None, None, None))
        steps.append(
            TokenStep(
                position=position,
                token_id=token,
                text="",
                temperature=float(temperature[row]),
                grid_index=index,
                grid_logprob=grid_logprob,
                grid_probs=grid_probs,
                entropy=float32_digits(entropies[row][0]),
                entropy_after=float32_digits(entropies[row][1]),
                logprob=float32_digits(logprobs[row][0]),
                logprob_drawn=float32_digits(logprobs[row][1]),
                alternatives=tuple(
                    Alternative(i, model.token_text(i), float32_digits(p), float32_digits(q))
                    for i, p, q in zip(ids[row], probs[row], probs_after[row], strict=True)
                ),
                channel={name: float32_digits(value) for name, value in channels[row].items()} if channels else {},
            )
        )
    return steps


def _choice(decision: Decision, b: int) -> tuple[int | None, float | None, tuple[float, ...] | None]:
    """Row b's grid index, its log-probability and the grid's distribution."""
    if decision.grid_index is None or decision.grid_logprob is None or decision.grid_probs is None:
        return None, None, None
    probs = tuple(float32_digits(p) for p in decision.grid_probs[b].tolist())
    return int(decision.grid_index[b]), float32_digits(float(decision.grid_logprob[b])), probs


def refuse_nan(logits: Tensor, model: str, position: int) -> None:
    """Raises PlaygroundError where a model's logits are no numbers: nothing is drawn from them."""
    if torch.isnan(logits).any():
        raise PlaygroundError(
            f"The model {model} produced NaN at token {position}; try --precision float32 or another model."
        )
