"""`random`: the control that draws its temperature by lot, per token or per reply, from the heads' grid.

    T ~ uniform over {0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2}

It knows neither the text nor the place, so a policy that is no better has learned nothing from either. The draws come from
the lane's temperature stream: the tokens' noise is that of any other policy with the same seed and shared noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


class RandomTemperature(Policy):
    grid = GRID

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._once = torch.tensor([row.spec.values["per"] == "reply" for row in rows])
        self._index: Tensor | None = None

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        drawn = (state.uniforms() * len(GRID)).long()
        self._index = drawn if self._index is None else torch.where(self._once, self._index, drawn)
        rows = len(drawn)
        return Decision(
            temperature=torch.tensor(GRID, dtype=torch.float64)[self._index],
            grid_index=self._index.tolist(),
            grid_logprob=[-math.log(len(GRID))] * rows,
            grid_probs=[[1 / len(GRID)] * len(GRID)] * rows,
        )


KIND = PolicyKind(
    name="random",
    title="Random temperature (control)",
    summary="A temperature drawn by lot for every token, or once for the reply: unrelated to entropy.",
    formula="T ~ uniform{0, 0.2, …, 1.2}",
    source="a placebo for choosing the temperature at all; ours",
    keys=(
        Key(
            "per",
            "choice",
            "token",
            "token: a new draw for every token; reply: one for all",
            choices=("token", "reply"),
        ),
    ),
    build=RandomTemperature,
    control=True,
)
