"""Which tokens of a reply a verifiable score blames, as spans of a vote: the losses then weigh these tokens alone.

A score of a whole reply says little about each of its hundred tokens. Where a program can say which words cost the reply
its score, the rejected side is marked there: eq. 11 then learns that a token which begins a repetition should have been
less probable, hence hotter, and a token that misspells less probable, hence colder. The chosen side stays unmarked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from playground.analysis.flaws import flaw_spans
from playground.decoding.trace import Trace
from playground.records import Preference

MARKS: Mapping[str, Callable[[str], Sequence[tuple[int, int]]]] = {"few-flaws": flaw_spans}


def marked(vote: Preference, metric: str) -> Preference:
    """The vote with spans on the rejected reply, where `metric` can blame words and each side is a single reply."""
    rejected = vote.rejected
    if metric not in MARKS or rejected is None or len(rejected) != 1:
        return vote
    arm = "b" if vote.outcome == "a" else "a"
    blamed = tokens_of(rejected[0], MARKS[metric](rejected[0].text))
    return replace(vote, spans=tuple({"arm": arm, "start": start, "stop": stop} for start, stop in blamed))


def tokens_of(trace: Trace, characters: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of steps [start, stop) whose text overlaps one of the runs of characters [start, stop) of the trace's text."""
    touched: list[int] = []
    end = 0
    for number, step in enumerate(trace.steps):
        start, end = end, end + len(step.text)
        if any(start < stop and begin < end for begin, stop in characters):
            touched.append(number)
    runs: list[tuple[int, int]] = []
    for number in touched:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
