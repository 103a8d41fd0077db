"""How a head is fitted, by name: the loss and its options, the optimizer's figures, when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from playground.errors import PlaygroundError
from playground.training.lpo import LATENT, LOSSES, REFERENCES, STRENGTHS

TOKEN_WEIGHTS = ("given", "none", "sparse")
CALIBRATIONS = ("none", "temperature")
POOLS = ("none", "family")
CHOICES = {
    "loss": LOSSES,
    "reference": REFERENCES,
    "strength": STRENGTHS,
    "token_weights": TOKEN_WEIGHTS,
    "calibrate": CALIBRATIONS,
    "pool": POOLS,
}


@dataclass(frozen=True)
class Recipe:
    """The paper states no rate, batch, epochs or beta; they are this project's choices.

    beta            strength of the loss
    pull            weight of the KL to uniform
    held_out        share of prompts kept for early stopping; no pair of theirs is trained on
    patience        epochs without a lower held-out loss before the fit ends
    loss            one of lpo.LOSSES
    reference       uniform: log P + log K for every token; length: means over tokens, where the latent losses have no
                    reference at all; not with `joint`, whose constant is a sum over tokens
    strength        what "slight" and "much" do to a vote: none, weight, or margin
    degree          weight of the preference-degree loss; 0 is off
    smoothing       measured rate of wrong votes, in [0, .5)
    token_weights   given: a vote's spans where it has some; none: ignore them; sparse: given times a learned mask
    samples         dropout masks that the loss is averaged over (multi-sample dropout)
    accumulate      batches whose gradients make one update
    pool            family: the votes of a family of prompts are fitted together, and the head learns the result (pooling.py)
    smooth          weight of the curvature of a family's row over the grid (curvature.py); for pooled votes only
    calibrate       temperature: divide the logits by the number that fits the held-out pairs best
    """

    seed: int = 0
    beta: float = 0.1
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    dropout: float = 0.2
    pull: float = 0.0
    epochs: int = 60
    batch: int = 32
    held_out: float = 0.2
    patience: int = 8
    loss: str = "separate"
    reference: str = "uniform"
    strength: str = "none"
    degree: float = 0.0
    smoothing: float = 0.0
    token_weights: str = "given"
    samples: int = 1
    accumulate: int = 1
    calibrate: str = "none"
    pool: str = "none"
    smooth: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise PlaygroundError(f"`{name}` must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        if self.loss == "joint" and self.reference == "length":
            raise PlaygroundError(
                "`reference` must be uniform with the loss joint: the constant of equation 9 is a sum over tokens, not a mean."
            )
        if self.pool == "family" and not self.poolable(self.loss, self.degree, self.token_weights):
            raise PlaygroundError(
                "`pool` must be none unless the loss is separate, without a preference degree and without a learned token mask."
            )
        if self.smooth and self.pool == "none":
            raise PlaygroundError("`smooth` must be 0 unless the votes of a family are pooled.")
        if not 0 <= self.smoothing < 0.5:
            raise PlaygroundError(f"`smoothing` must lie between 0 and 0.5 (0.5 not included), got {self.smoothing:g}.")
        if not 0 < self.held_out < 1:
            raise PlaygroundError(f"`held_out` must lie between 0 and 1 (neither included), got {self.held_out:g}.")

    @staticmethod
    def poolable(loss: str = "separate", degree: float = 0.0, token_weights: str = "given") -> bool:
        """Whether votes can be pooled: rows of temperatures have no tokens to mask, and no degree is learned beside them."""
        return loss == "separate" and not degree and token_weights != "sparse"

    @property
    def latent(self) -> bool:
        """Whether the loss reads likelihoods of the text instead of drawn temperatures."""
        return self.loss in LATENT

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe in a head's metrics, with the defaults of what was no option yet when the head was made."""
        return {**asdict(cls()), **metrics.get("training", {}).get("recipe", {})}

    def changed(self) -> dict[str, object]:
        """What differs from the defaults of this class."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
