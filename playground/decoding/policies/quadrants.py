"""`quadrants`: entropy and varentropy choose among four temperatures, in the style of entropix
(xjdr-alt/entropix, github.com/xjdr-alt/entropix, sampler of October 2024; no paper).

    H = −Σ p log2 p                       entropy in bits
    W = Σ p (log2 p + H)²                 varentropy in bits²: the variance of the surprise

                  W ≤ varentropy_bits      W > varentropy_bits
    H ≤ entropy   sure: argmax             forks: 0.666 · 1.2 ≈ 0.8
    H > entropy   careful: 0.666 · 1.3     mist: 2.0

Both thresholds are entropix's own: 5 bits and 5 bits² part its two branches of high varentropy. They are of a larger model:
the embedded one is "sure" at 29 % of the tokens of reference replies, at "forks" 46 %, in "mist" 25 % and "careful" nowhere.
Departures:
1. entropix argmaxes only below 0.1 bits and 0.1 bits², asks its question only with varentropy below 0.1, and has a fifth,
   adaptive branch in between; here each threshold cuts once, so "sure" and "careful" reach further.
2. The terms of attention entropy, agreement and interaction strength are left out; so are the clarifying-question token
   (a Llama id) and the choice among five samples.
3. Its top-k of 27 is `kept`, applied before the temperature in all but the greedy quadrant, which is the same set; its top-p
   0.9 and min-p 0.03 are left to the filters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.distribution import LN2, Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind

QUADRANTS = ("sure", "forks", "careful", "mist")


class Quadrants(Policy):
    order = ("kept", "temperature")

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        def column(name: str) -> Tensor:
            return torch.tensor([float(row.spec.values[name]) for row in rows], dtype=torch.float64)

        self._entropy, self._varentropy = column("entropy_bits"), column("varentropy_bits2")
        self._heats = torch.stack([column(name) for name in QUADRANTS], dim=-1)  # [B, 4]
        self._kept = column("kept").long()

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        h, w = now.entropy / LN2, now.varentropy / LN2**2
        quadrant = 2 * (h > self._entropy).long() + (w > self._varentropy).long()
        kept = torch.where(self._kept > 0, self._kept, now.size).clamp(max=now.size)
        keep = now.at_least(now.kth(kept))  # ties with the last stay
        return Decision(self._heats.gather(-1, quadrant[:, None])[:, 0], keep, channel={"varentropy": w})


KIND = PolicyKind(
    name="quadrants",
    title="Quadrants: entropy and varentropy",
    summary="In the style of entropix: greedy where the model is sure, warm where few paths compete, hot where many do.",
    formula="T = one of four by H ≷ entropy_bits, Var[−log2 p] ≷ varentropy_bits2",
    source="xjdr, entropix (github.com/xjdr-alt/entropix, sampler of October 2024); no paper",
    departure="one cut on each axis, at its 5 bits and 5 bits²; no adaptive middle, no attention terms, no inserted token.",
    keys=(
        Key("entropy_bits", "float", 5.0, "entropy is high above this, in bits; entropix: 5", 0.0, 20.0),
        Key("varentropy_bits2", "float", 5.0, "varentropy is high above this, in bits²; entropix: 5", 0.0, 100.0),
        Key("sure", "float", 0.0, "temperature at low entropy, low varentropy; entropix: argmax", 0.0, 5.0),
        Key(
            "forks", "float", 0.8, "temperature at low entropy, high varentropy; entropix: 0.666 · 1.2 and up", 0.0, 5.0
        ),
        Key(
            "careful",
            "float",
            0.87,
            "temperature at high entropy, low varentropy; entropix: 0.666 · 1.3 and up",
            0.0,
            5.0,
        ),
        Key("mist", "float", 2.0, "temperature at high entropy, high varentropy; entropix: 2 and up", 0.0, 5.0),
        Key("kept", "int", 27, "draw among the k most probable tokens; entropix: 27; 0 keeps all", 0, 1_000_000),
    ),
    build=Quadrants,
    cuts=lambda values: values["kept"] != 0,
    channels=(Channel("varentropy", "Varentropy", "bits²", "variance of the surprise at T = 1, in bits²", 0.0, 20.0),),
)
