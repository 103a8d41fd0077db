"""Whether a predicted preference is as likely as it says: reliability bins over held-out pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BINS = 5


def calibration_error(confidence: Tensor) -> float:
    """|mean predicted probability of the predicted winner − share predicted right|, from P(chosen wins) [P].

    One bin, since the pairs are few: 0 is calibrated, above 0 over- or under-confident. A pair at exactly .5 counts as
    half right, so a head that prefers nothing is calibrated.
    """
    certainty = torch.maximum(confidence, 1 - confidence).double()
    return float((certainty - _right(confidence)).mean().abs())


def reliability(confidence: Tensor, bins: int = BINS) -> list[dict[str, Any]]:
    """Equal bins of the predicted winner's probability over [.5, 1]: pairs, mean prediction, share right.

    A bin without pairs has neither mean nor share (None). A pair at exactly .5 counts as half right.
    """
    certainty = torch.maximum(confidence, 1 - confidence).double()
    right = _right(confidence)
    place = ((certainty - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    table = []
    for number in range(bins):
        mine = place == number
        count = int(mine.sum())
        table.append(
            {
                "low": 0.5 + number / (2 * bins),
                "high": 0.5 + (number + 1) / (2 * bins),
                "pairs": count,
                "predicted": float(certainty[mine].mean()) if count else None,
                "right": float(right[mine].mean()) if count else None,
            }
        )
    return table


def _right(confidence: Tensor) -> Tensor:
    """1 where the predicted winner is the chosen one, 0 where it is not, .5 where neither is predicted: [P]."""
    return (confidence > 0.5).double() + 0.5 * (confidence == 0.5).double()
