"""How often a vote is flipped, measured from votes on the same two replies, for the trainer's label smoothing.

Let each vote name the reply that is really preferred with probability 1 − f, independently. Two votes then agree with

    q = (1 − f)² + f²        so        f = (1 − √(2q − 1)) / 2

Label smoothing with f trains on the probability 1 − f instead of 1. Ties are left out: they name no winner. What two
voters really see differently counts as flips too, so f is an upper bound of slips when the two votes come from two people.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from playground.errors import PlaygroundError
from playground.records import Preference


@dataclass(frozen=True)
class Agreement:
    """`agreeing` of `pairs` pairs of decided votes on the same two replies name the same one."""

    agreeing: int
    pairs: int

    @property
    def share(self) -> float:
        """q. Raises PlaygroundError where nothing was judged twice."""
        if not self.pairs:
            raise PlaygroundError(
                "A flip rate needs at least one battle with two decided votes; collect repeated votes."
            )
        return self.agreeing / self.pairs

    @property
    def flip_rate(self) -> float:
        """f in [0, 0.5]; 0.5 where the votes agree no more often than by chance."""
        return flip_rate(self.share)


def flip_rate(share: float) -> float:
    """f = (1 − √(2q − 1)) / 2 for the share q of agreeing pairs; 0.5 for q ≤ 0.5.

    Raises PlaygroundError where q is no share.
    """
    if not 0 <= share <= 1:
        raise PlaygroundError(f"`share` must be from 0 to 1, got {share:g}.")
    return (1 - math.sqrt(max(0.0, 2 * share - 1))) / 2


def repeated(battles: Iterable[Sequence[Hashable | None]]) -> Agreement:
    """Counts pairs of votes of the same battle; a vote is the winner's name, or None for a tie."""
    agreeing = pairs = 0
    for votes in battles:
        decided = [vote for vote in votes if vote is not None]
        agreeing += sum(a == b for a, b in combinations(decided, 2))
        pairs += math.comb(len(decided), 2)
    return Agreement(agreeing, pairs)


def of_preferences(preferences: Iterable[Preference]) -> Agreement:
    """Agreement of votes whose two candidates are the same replies (by trace id), whichever was called a."""
    battles: dict[frozenset[tuple[str, ...]], list[tuple[str, ...] | None]] = defaultdict(list)
    for vote in preferences:
        candidates = {"a": tuple(trace.id for trace in vote.a), "b": tuple(trace.id for trace in vote.b)}
        if candidates["a"] == candidates["b"]:
            continue
        battles[frozenset(candidates.values())].append(candidates.get(vote.outcome))
    return repeated(battles.values())
