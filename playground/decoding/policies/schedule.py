"""`schedule`: the control whose temperature depends on the position in the reply and on nothing else
(linear: Williams & Aletras 2024, arXiv 2410.17170, sec. 3.2).

    T_i = start + (end − start) · f(min(i / (N − 1), 1)),  i = 0, 1, …
    f(x) = x  or  (1 − cos πx) / 2

Departures: i counts from 0 and N − 1 stands below, so that the first token gets exactly `start` and token N exactly `end` (the
paper has i / n); the cosine shape is ours. N is `over`, or the most tokens the reply may have. A reply of one token gets `start`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind, Value


class Schedule(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._values = [row.spec.values for row in rows]

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        heats = [_at(values, state.position, state.length) for values in self._values]
        return Decision(torch.tensor(heats, dtype=torch.float64))


def _at(values: Mapping[str, Value], position: int, length: int) -> float:
    """The temperature at `position`, counted from 0, of a reply that may have `length` tokens."""
    start, end, over = (float(values[name]) for name in ("start", "end", "over"))
    x = min(position / max((over or length) - 1, 1), 1.0)
    share = (1 - math.cos(math.pi * x)) / 2 if values["shape"] == "cosine" else x
    return start * (1 - share) + end * share


KIND = PolicyKind(
    name="schedule",
    title="Schedule (control)",
    summary="The temperature slides from start to end along the reply, whatever the model says.",
    formula="T_i = start + (end − start) · f(i / (N − 1))",
    source="linear: Williams & Aletras 2024, arXiv 2410.17170, sec. 3.2; cosine: ours",
    departure="counts from 0, so that the first token gets `start` and token N gets `end`; the cosine shape is ours.",
    keys=(
        Key("start", "float", 1.2, "the first token's temperature", 0.0, 5.0),
        Key("end", "float", 0.2, "the temperature from token `over` on", 0.0, 5.0),
        Key("shape", "choice", "linear", "linear, or cosine: slow at both ends", choices=("linear", "cosine")),
        Key("over", "int", 0, "tokens from start to end; 0 takes the longest the reply may be", 0, 1_000_000),
    ),
    build=Schedule,
    control=True,
)
