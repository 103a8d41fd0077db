"""`matched`: the control that keeps another policy's heat and loses its variation: one constant temperature.

    by=temperature   T = mean of the temperatures that lane N used
    by=entropy       the T at which  mean_t H(softmax(h_t / T)) = mean_t of lane N's entropies as drawn,
                     over the raw logits h_t at lane N's own positions (its reply, teacher-forced); T in [0.01, 5]

`of=N` runs after lane N (counted from 1). A lane that was greedy throughout is matched by T = 0. Alone or in a blind battle
(`of=0`) the constant is the checkpoint's, calibrated beforehand on held-out prompts: the mean of its card's histogram, or
the temperature that `python -m playground calibrate` solved for. If a policy is no better than its matched constant,
*that* the temperature changes does not matter. Lane N's filters count as part of what it drew; T alone has to make up
for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Donor, Head, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind
from playground.errors import PlaygroundError

LOW, HIGH = 0.01, 5.0
TOLERANCE = 1e-9  # of the temperature, relative
BLOCK = 64  # positions that are solved over at once, so that memory stays small


class Matched(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        name = str(rows[0].spec.values["checkpoint"])
        head = resources.head(name) if any(not row.spec.values["of"] for row in rows) else None
        self.checkpoint = head.id if head else None
        self._temperature = torch.tensor([_constant(row, head, resources) for row in rows], dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        return Decision(self._temperature)


def _constant(row: Row, head: Head | None, resources: Resources) -> float:
    lane, by_entropy = int(row.spec.values["of"]), row.spec.values["by"] == "entropy"
    if not lane:
        assert head is not None
        return _calibrated(head, by_entropy)
    donor = resources.donors.get(lane)
    if not donor:
        raise PlaygroundError(
            f"`of` must name another lane that decides by itself, counted from 1; lane {lane} is none."
        )
    return matching_entropy(donor) if by_entropy else fmean(donor.temperatures)


def _calibrated(head: Head, by_entropy: bool) -> float:
    if not by_entropy:
        return sum(share * t for share, t in zip(head.histogram, head.grid, strict=True))
    if head.matched is None:
        name = head.id.partition("@")[0]
        raise PlaygroundError(
            f"Checkpoint {name!r} has no matched temperature yet; run `python -m playground calibrate --head {name}`, take "
            f"by=temperature, or name a lane with `of`.",
            f"Checkpoint {name!r} has no matched temperature yet; take by=temperature, or name a lane with `of`.",
        )
    return head.matched


def matching_entropy(donor: Donor) -> float:
    """The constant temperature whose mean entropy over the donor's positions is the donor's own."""
    assert donor.logits is not None
    return constant_temperature([donor.logits()], fmean(donor.entropies_after))


def constant_temperature(logits: Sequence[Tensor], entropy: float) -> float:
    """The T in [0.01, 5] at which softmax(h/T) over all rows of `logits`, each [T, V], has this mean entropy in nats.

    0 where the entropy is 0; an end of the range where none inside it fits. Newton steps in ln T, bisection where one
    would leave the bracket: the mean entropy rises with T.
    """
    if entropy <= 0:
        return 0.0
    low, high = math.log(LOW), math.log(HIGH)
    if mean_entropy(logits, LOW)[0] >= entropy:
        return LOW
    if mean_entropy(logits, HIGH)[0] <= entropy:
        return HIGH
    guess = 0.0
    while high - low > TOLERANCE:
        found, slope = mean_entropy(logits, math.exp(guess))
        low, high = (guess, high) if found < entropy else (low, guess)
        stepped = guess - (found - entropy) / slope if slope > 0 else low
        after = stepped if low < stepped < high else (low + high) / 2
        if abs(after - guess) < TOLERANCE:
            return math.exp(after)
        guess = after
    return math.exp(guess)


def mean_entropy(logits: Sequence[Tensor], temperature: float) -> tuple[float, float]:
    """The mean entropy in nats of softmax(h/T) over all rows of `logits`, each [T, V], and its derivative by ln T.

    dH/d ln T is the variance of h/T under that softmax.
    """
    total, slope, rows = 0.0, 0.0, 0
    for block in (part for passage in logits for part in passage.split(BLOCK)):
        heated = block.double() / temperature
        logprobs = torch.log_softmax(heated, dim=-1)
        probs = logprobs.exp()
        surprise = torch.where(probs > 0, -logprobs, 0.0)
        mean = (probs * surprise).sum(-1)
        total += float(mean.sum())
        slope += float(((probs * surprise * surprise).sum(-1) - mean * mean).clamp(min=0.0).sum())
        rows += len(block)
    return total / rows, slope / rows


def kind(default_checkpoint: str) -> PolicyKind:
    return PolicyKind(
        name="matched",
        title="Matched constant",
        summary="One constant temperature with the mean entropy, or the mean temperature, of another lane.",
        formula="T = const with mean H(softmax(h/T)) = mean H of lane N as drawn",
        source="a placebo for that the temperature changes; ours",
        keys=(
            Key(
                "of", "int", 0, "the lane that is matched, counted from 1; 0 takes the checkpoint's calibration", 0, 64
            ),
            Key(
                "by", "choice", "entropy", "what is equal on average over the lane", choices=("entropy", "temperature")
            ),
            Key("checkpoint", "checkpoint", default_checkpoint, "whose calibrated constant is used when `of` is 0"),
        ),
        build=Matched,
        learned="adaptive-token",
        control=True,
    )
