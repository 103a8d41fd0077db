"""`tempnet`: a small network reads the logits and predicts the temperature of the next token
(TempNet, Qiu et al., ICML 2024, arXiv 2404.04575).

    T = net(h), clipped to [low, high];   net was trained on  L(T) = T · ln[(1/V) Σ_k exp((h_k − h_y) / T)] + rho · T

The network amortises `target-entropy`: with a frozen model the minimum of L is the T whose entropy is ln V − rho, and the
network is trained to hit it from the logits alone. How it is built, and where that departs from the paper: models/tempnet.py.

Departure: [low, high] clips what the network says. In the release the bounds are part of the network's formula, so that
decoding with 1.2 what was trained with 2.0 lowers every temperature and misses the entropy that was trained for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind
from playground.decoding.trace import nine_digits
from playground.errors import PlaygroundError


class TempNetPolicy(Policy):
    """Rows that share one checkpoint; the lockstep batch groups them so."""

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        predictor = resources.predictor(str(rows[0].spec.values["checkpoint"]), "tempnet")
        self.checkpoint, self._network = predictor.id, predictor.call
        self._target = predictor.settings["target_nats"]
        self._low, self._high = (
            torch.tensor([float(row.spec.values[name]) for row in rows], dtype=torch.float64)
            for name in ("low", "high")
        )
        if (self._low > self._high).any():
            raise PlaygroundError("`low` must be at most `high` in 'tempnet'; raise `high` or lower `low`.")

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        predicted = self._network(now.logits, hidden)  # [B]
        if not torch.isfinite(predicted).all():
            raise PlaygroundError(
                f"Checkpoint {self.checkpoint} predicted NaN for the temperature; choose another checkpoint or "
                f"'target-entropy'."
            )
        clipped = torch.minimum(torch.maximum(predicted, self._low), self._high).tolist()
        temperature = torch.tensor([nine_digits(t) for t in clipped], dtype=torch.float64)
        return Decision(temperature, channel={"entropy_gap": now.tempered(temperature).entropy - self._target})


def kind(default_checkpoint: str) -> PolicyKind:
    """The policy kind, with the network it uses when none is named."""
    return PolicyKind(
        name="tempnet",
        title="TempNet: learned to hit a target entropy",
        summary="A small network reads the logits and predicts the temperature at which the next token has the entropy it was "
        "trained for: hot where the model is sure, the opposite of EDT. What target-entropy solves exactly.",
        formula="T = clip(net((h − max h) / ‖h − max h‖₂), low, high)",
        source="Qiu et al., ICML 2024, arXiv 2404.04575: the network and its robust loss",
        departure="low and high clip the network's answer instead of rescaling it; trained on the frozen embedded model over "
        "reference text, first layer folded into the unembedding.",
        keys=(
            Key("checkpoint", "checkpoint", default_checkpoint, "the trained network; its card says for which entropy"),
            Key("low", "float", 0.01, "the lowest temperature", 0.001, 5.0),
            Key("high", "float", 1.2, "the highest temperature", 0.001, 5.0),
        ),
        build=TempNetPolicy,
        channels=(
            Channel(
                "entropy_gap",
                "Entropy − target",
                "nats",
                "entropy reached minus the entropy that the network was trained for, before the filters",
                -2.0,
                2.0,
                0.0,
            ),
        ),
        learned="tempnet",
    )
