"""Which candidates of a prompt meet: pairs of a chosen and a rejected one, and why others teach nothing.

ranked   the k-th best against the k-th worst, k = 1 … pairs (the paper: best against worst). Equal scores stand in a
         random order, so that neither the cold nor the hot ones are favoured where an answer is only right or wrong.
every    `pairs` meetings of two candidates with different temperatures, drawn by lot before anyone looks at the scores;
         those that end equal are then left out. Hot temperatures have both the best and the worst replies (variance),
         so the extremes say little about a temperature; the share of its comparisons that it wins says what its mean
         reply is worth. Were `pairs` drawn from the decided ones, a prompt with one lucky reply in twenty would teach as
         much as one that the temperature decides, and the lucky reply is a hot one (LOG.md, 2026-11-22).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from playground.decoding.trace import Trace
from playground.records import Preference

PAIRINGS = ("ranked", "every")
EQUAL = "equal temperature"
Comparable = Callable[["Candidate", "Candidate"], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Replies at one setting and their score. `temperature` is None where every token drew its own."""

    traces: tuple[Trace, ...]
    score: float
    temperature: float | None = None


def pairs_of(
    candidates: Sequence[Candidate],
    pairing: str,
    pairs: int,
    random: Random,
    counts: Counter[str],
    refused: Callable[[Candidate, Candidate], str | None] = lambda winner, loser: None,
) -> Iterator[tuple[Candidate, Candidate]]:
    """(winner, loser); `counts` gets the pairs and, by reason, those dropped. `refused` may name a further reason."""
    met = _ranked(candidates, pairs, random) if pairing == "ranked" else _every(candidates, random)
    drawn = 0
    for winner, loser in met:
        reason = _reason(winner, loser) or refused(winner, loser)
        if reason != EQUAL:
            reason = reason if drawn < pairs else "more than wanted"
            drawn += 1
        counts[f"dropped: {reason}" if reason else "pairs"] += 1
        if reason is None:
            yield winner, loser


def preference(name: str, prompt: str, family: str, winner: Candidate, loser: Candidate) -> Preference:
    """The preference/1 record of a pair that a program decided."""
    return Preference(
        vote_id=name,
        battle_id=name,
        source="verifier",
        blind=True,
        mode="collect",
        outcome="a",
        left="a",
        propensity=None,
        prompt=prompt,
        family=family,
        a=winner.traces,
        b=loser.traces,
    )


def _ranked(candidates: Sequence[Candidate], pairs: int, random: Random) -> Iterator[tuple[Candidate, Candidate]]:
    order = list(candidates)
    random.shuffle(order)
    order.sort(key=lambda candidate: -candidate.score)
    for k in range(min(pairs, len(order) // 2)):
        yield order[k], order[-1 - k]


def _every(candidates: Sequence[Candidate], random: Random) -> list[tuple[Candidate, Candidate]]:
    """Every two candidates, the better one first, in a random order."""
    met = [(a, b) if a.score >= b.score else (b, a) for i, a in enumerate(candidates) for b in candidates[i + 1 :]]
    random.shuffle(met)
    return met


def _reason(winner: Candidate, loser: Candidate) -> str | None:
    if winner.temperature is not None and winner.temperature == loser.temperature:
        return EQUAL
    return "equal reward" if winner.score == loser.score else None
