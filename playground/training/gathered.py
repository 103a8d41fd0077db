"""Votes one after the other, made into the rows of `Pairs`.

    level     loss              rows of a side                                      state
    token     any               one a token of every reply                          the token's own
    sequence  separate, …       one                                                 the prompt's last, shared by both sides
    sequence  latent-token      one a token of every reply                          the prompt's last, shared
    sequence  latent-sequence   one: log Π_t P(y_t | τ_k) over all its tokens       the prompt's last, shared

A side of R replies is one candidate: at sequence level it has drawn one temperature and is one row; where rows are
tokens, each weighs 1/R, so that its score is the mean of its replies'. For latent-sequence its R replies are one text.

A vote's `spans` say which tokens decided it: [{"arm": "a"|"b", "start": i, "stop": j}, …], tokens i … j − 1 of that arm's
reply. Tokens of a marked arm outside all its spans weigh 0. Spans that cannot be read, or mark no token, are counted and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from playground.decoding.trace import Trace
from playground.records import Preference
from playground.training.exclusions import place
from playground.training.lpo import LATENT, MUCH, SLIGHT, UNSTATED, sequence_likelihoods
from playground.training.pairs import Pairs

Read = Callable[[Trace], tuple[Tensor, Tensor | None]]
Known = dict[tuple[int, ...], int]  # numbers of a vote's states, by the prompt's tokens
STRENGTH = {None: UNSTATED, "slight": SLIGHT, "much": MUCH}
IGNORED = "spans that mark no token (ignored, not dropped)"


class Gathered:
    """Rows of pairs so far, and the votes left out by reason."""

    def __init__(self, level: str, loss: str, grid: tuple[float, ...], spans: bool = True) -> None:
        self.level, self.loss, self.grid, self.spans = level, loss, grid, spans
        self.dropped: dict[str, int] = {}
        self._prompts: list[str] = []
        self._families: list[str | None] = []
        self._columns: dict[str, list[Tensor]] = {}
        self._strength: list[int] = []
        self._offset: list[float] = []
        self._states = 0

    def __len__(self) -> int:
        return len(self._prompts)

    def drop(self, reason: str) -> None:
        """Counts a vote that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def add(self, preference: Preference, read: Read) -> None:
        """Adds the rows of a decided vote; `read` gives a trace's states and likelihoods."""
        marked = self._marked(preference)
        offset = 0.0
        known: Known = {}
        for sign, arm in ((1.0, preference.outcome), (-1.0, "b" if preference.outcome == "a" else "a")):
            side = preference.a if arm == "a" else preference.b
            offset += sign * sum(map(_temperature_ratio, side)) / len(side)
            weights = marked.get(arm)
            if self.level == "token" or self.loss == "latent-token":
                self._add_tokens(side, sign, read, known, weights)
            else:
                self._add_whole(side, sign, read, known, weights)
        self._prompts.append(preference.prompt)
        self._families.append(preference.family)
        self._strength.append(STRENGTH[preference.strength])
        self._offset.append(offset)

    def pairs(self) -> Pairs:
        """All rows as tensors."""
        joined = {name: torch.cat(values) for name, values in self._columns.items()}
        if self.level == "token":
            del joined["state"]  # row n reads state n
        strength = torch.tensor(self._strength) if any(self._strength) else None
        offset = torch.tensor(self._offset) if self.loss == "joint" else None
        family = tuple(self._families)
        return Pairs(**joined, prompts=tuple(self._prompts), strength=strength, offset=offset, family=family)

    def _add_tokens(self, side: Sequence[Trace], sign: float, read: Read, known: Known, weights: Tensor | None) -> None:
        for trace in side:
            hidden, likelihood = read(trace)
            count = len(trace.steps)
            weight = (torch.ones(count) if weights is None else weights) / len(side)
            index = torch.tensor([-1 if step.grid_index is None else step.grid_index for step in trace.steps])
            if self.level == "token":
                state = torch.arange(self._states, self._states + count)
                self._keep(hidden)
            else:
                state = torch.full((count,), self._shared(trace, hidden, known))
            self._rows(state, index, sign, likelihood, weight, torch.ones(count))

    def _add_whole(self, side: Sequence[Trace], sign: float, read: Read, known: Known, weights: Tensor | None) -> None:
        """One row for the whole side."""
        found = [read(trace) for trace in (side if self.loss in LATENT else side[:1])]
        state = torch.tensor([self._shared(side[0], found[0][0], known)])
        drawn = place(side[0], self.grid) if self.loss not in LATENT else None
        likelihood, tokens = None, torch.ones(1)
        if self.loss in LATENT:
            every = torch.cat([part for _, part in found if part is not None])
            weight = torch.ones(len(every)) if weights is None else weights
            likelihood = sequence_likelihoods(every, torch.zeros(len(every), dtype=torch.long), 1, weight)
            tokens = weight.sum()[None]
        self._rows(state, torch.tensor([-1 if drawn is None else drawn]), sign, likelihood, torch.ones(1), tokens)

    def _shared(self, trace: Trace, hidden: Tensor, known: Known) -> int:
        """The number of the prompt's state; both sides of a vote read the same one."""
        if trace.prompt_ids not in known:
            known[trace.prompt_ids] = self._states
            self._keep(hidden)
        return known[trace.prompt_ids]

    def _keep(self, hidden: Tensor) -> None:
        self._states += len(hidden)
        self._columns.setdefault("hidden", []).append(hidden)

    def _rows(
        self, state: Tensor, index: Tensor, sign: float, likelihood: Tensor | None, weight: Tensor, tokens: Tensor
    ) -> None:
        pair = torch.full((len(index),), len(self._prompts))
        values = {"state": state, "index": index, "pair": pair, "sign": torch.full((len(index),), sign)}
        values |= {"weight": weight, "tokens": tokens}
        if likelihood is not None:
            values["likelihood"] = likelihood
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value)

    def _marked(self, preference: Preference) -> dict[str, Tensor]:
        """Token weights of the arms that have spans, 1 inside and 0 outside; only for arms of a single reply."""
        found: dict[str, Tensor] = {}
        for span in preference.spans if self.spans else ():
            arm, start, stop = _span(span)
            side = {"a": preference.a, "b": preference.b}.get(arm, ())
            if len(side) != 1 or not 0 <= start < stop <= len(side[0].steps):
                self.drop(IGNORED)
                return {}
            found.setdefault(arm, torch.zeros(len(side[0].steps)))[start:stop] = 1.0
        return found


def _span(span: Any) -> tuple[str, int, int]:
    """Arm, start and stop; ("", 0, 0) for what is none."""
    try:
        return str(span["arm"]), int(span["start"]), int(span["stop"])
    except (KeyError, TypeError, ValueError):
        return "", 0, 0


def _temperature_ratio(trace: Trace) -> float:
    """Σ_t log p(y_t as drawn) − log p(y_t at T = 1): what equation 9 adds for this reply, from the trace's own record."""
    return sum(step.logprob_drawn - step.logprob for step in trace.steps)
