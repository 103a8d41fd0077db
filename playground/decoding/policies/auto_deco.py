"""`auto-deco`: learned heads predict temperature and top-p for every token (AutoDeco, Wang et al. 2025, arXiv 2510.26697).

    T = 2 · sigmoid(f(h)),  P = sigmoid(g(h, T)),  h the state that also feeds the unembedding
    keep the smallest set of most probable tokens whose mass under softmax(logits / T) is at least P

The set is found under the tempered distribution, as in the paper, and the temperature divides the logits of what is kept:
the same tokens with the same probabilities as tempering first. `use_top_p=no` leaves the second head out. The usual
filters come after both. How the heads were trained, and where that departs from the paper: models/auto_deco.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.filters import nucleus
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind
from playground.decoding.trace import nine_digits
from playground.errors import PlaygroundError


class AutoDeco(Policy):
    """Rows that share one checkpoint; the lockstep batch groups them so."""

    order = ("temperature", "auto_deco_top_p")

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        predictor = resources.predictor(str(rows[0].spec.values["checkpoint"]), "auto-deco")
        self.checkpoint, self._heads = predictor.id, predictor.call
        self._masked = torch.tensor([row.spec.values["use_top_p"] == "yes" for row in rows])

    def order_of(self, row: Row) -> tuple[str, ...]:
        return self.order if row.spec.values["use_top_p"] == "yes" else self.order[:1]

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        predicted = self._heads(hidden)
        if not torch.isfinite(predicted).all():
            raise PlaygroundError(
                f"Checkpoint {self.checkpoint} predicted NaN for the temperature; choose another checkpoint or a fixed one."
            )
        temperature = torch.tensor([nine_digits(t) for t in predicted[:, 0].tolist()], dtype=torch.float64)
        top_p = torch.where(self._masked, predicted[:, 1].clamp(min=torch.finfo(torch.float64).tiny), 1.0)
        return Decision(temperature, nucleus(now.tempered(temperature), top_p), channel={"top_p": top_p})


def kind(default_checkpoint: str) -> PolicyKind:
    """The policy kind, with the heads it uses when none are named."""
    return PolicyKind(
        name="auto-deco",
        title="AutoDeco: learned temperature and top-p",
        summary="Two small heads read the hidden state and set a continuous temperature and a top-p for every token.",
        formula="T = 2 · sigmoid(f(h)), P = sigmoid(g(h, T)); keep the top-P mass of softmax(logits / T)",
        source="Wang et al. 2025, arXiv 2510.26697, eq. 4 (trained with eqs. 1–3)",
        departure=(
            "hidden width 128, standardised states; trained on human reference text with every token weighing the same, "
            "not on accepted samples with easy tokens dropped."
        ),
        keys=(
            Key("checkpoint", "checkpoint", default_checkpoint, "the trained heads"),
            Key("use_top_p", "choice", "yes", "no: the temperature alone", choices=("yes", "no")),
        ),
        build=AutoDeco,
        cuts=lambda values: values["use_top_p"] == "yes",
        channels=(Channel("top_p", "Predicted top-p", "", "the mass that may be drawn from; 1 keeps all", 0.0, 1.0),),
        learned="auto-deco",
    )
