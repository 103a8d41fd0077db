"""How often a vote is flipped, measured from votes on the same two replies, for the trainer's label smoothing.

Let each vote name the reply that is really preferred with probability 1 − f, independently. Two votes then agree with

    q = (1 − f)² + f²        so        f = (1 − √(2q − 1)) / 2

Label smoothing with f trains on the probability 1 − f instead of 1. Ties are left out: they name no winner. What two
voters really see differently counts as flips too, so f is an upper bound of slips when the two votes come from two people.
The Arena takes one vote a battle, so q comes from elsewhere: a study of its own, or published labels.
"""

from __future__ import annotations

import math

from playground.errors import PlaygroundError


def flip_rate(share: float) -> float:
    """f = (1 − √(2q − 1)) / 2 for the share q of agreeing pairs of votes; 0.5 for q ≤ 0.5.

    Raises PlaygroundError where q is no share.
    """
    if not 0 <= share <= 1:
        raise PlaygroundError(f"`share` must be from 0 to 1, got {share:g}.")
    return (1 - math.sqrt(max(0.0, 2 * share - 1))) / 2
