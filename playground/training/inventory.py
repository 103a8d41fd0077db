"""What preference files hold for training, before anything is trained: by source, and by level and loss what can be used.

A vote that cannot be used is counted under the reason for which the trainer would drop it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.files import size_of
from playground.records import OUTCOMES, Preference
from playground.training.exclusions import unusable
from playground.training.lpo import LOSSES

LEVELS = ("token", "sequence")


def preference_files(folder: Path) -> dict[str, int]:
    """The preference files that lie in a folder, by name, with their bytes.

    What no training could read is left out: a link that leads nowhere, a folder, a pipe, a device, and a name that no page
    can show as it is.
    """
    found = {}
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix == ".jsonl" and path.name.isprintable():
                with suppress(OSError):
                    found[path.name] = size_of(path)
    return found


def inventory(preferences: Iterable[Preference]) -> dict[str, Any]:
    """Counts as plain values.

    votes, sources, outcomes   all votes, by source, by outcome
    usable                     LEVEL → LOSS → {"votes", "prompts", "dropped": {reason: votes}}
    drawn                      LEVEL → [[temperature, chosen, rejected], …] over the votes that `separate` uses: tokens at
                               token level, replies at sequence level
    """
    sources: Counter[str] = Counter()
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    tallies = {(level, loss): _Tally() for level in LEVELS for loss in LOSSES}
    drawn = {level: {True: Counter[float](), False: Counter[float]()} for level in LEVELS}
    for preference in preferences:
        sources[preference.source] += 1
        outcomes[preference.outcome] += 1
        for (level, loss), tally in tallies.items():
            tally.add(preference, unusable(preference, level, loss))
        for level in LEVELS:
            if unusable(preference, level, "separate") is None:
                for won, traces in ((True, preference.chosen), (False, preference.rejected)):
                    drawn[level][won].update(_temperatures(traces or (), level))
    return {
        "votes": sum(sources.values()),
        "sources": dict(sources),
        "outcomes": dict(outcomes),
        "usable": {level: {loss: tallies[level, loss].record() for loss in LOSSES} for level in LEVELS},
        "drawn": {level: _rows(drawn[level]) for level in LEVELS},
    }


class _Tally:
    def __init__(self) -> None:
        self.votes, self.prompts, self.dropped = 0, set[str](), Counter[str]()

    def add(self, preference: Preference, reason: str | None) -> None:
        if reason is None:
            self.votes += 1
            self.prompts.add(preference.prompt)
        else:
            self.dropped[reason] += 1

    def record(self) -> dict[str, Any]:
        return {"votes": self.votes, "prompts": len(self.prompts), "dropped": dict(self.dropped.most_common())}


def _temperatures(traces: Sequence[Any], level: str) -> Iterable[float]:
    steps = (step for trace in traces for step in (trace.steps if level == "token" else trace.steps[:1]))
    return (step.temperature for step in steps)


def _rows(counts: dict[bool, Counter[float]]) -> list[list[float]]:
    heat = sorted({*counts[True], *counts[False]})
    return [[t, counts[True][t], counts[False][t]] for t in heat]
