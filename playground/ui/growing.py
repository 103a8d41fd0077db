"""One lane of a run while it grows: what a step adds is counted as it comes, so that no question reads the lane again."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from playground.decoding.trace import Request, Stop, TokenStep
from playground.ui.render import counted


class Growing:
    """The counted steps of a lane (without a closing end token) and how it has ended, as far as the steps tell."""

    def __init__(self, request: Request, end_ids: Collection[int]) -> None:
        self.steps: list[TokenStep] = []
        self.all_steps = 0
        self.ending: Stop | None = None
        self.kept = 0  # as many of the first texts are still those that streamed
        self._request, self._end_ids = request, end_ids
        self._closing: TokenStep | None = None
        self._tail = ""

    def add(self, step: TokenStep) -> None:
        """One more step. A stop string is looked for where it may have become whole."""
        if step.token_id in self._end_ids and step.text == "":
            self._closing, self.ending = step, "end"
        else:
            self.steps.append(step)
            self.ending = "stop_string" if self._completes_a_stop(step.text) else self.ending
        self.all_steps += 1
        if self.ending is None and self.all_steps >= self._request.max_tokens:
            self.ending = "length"
        self.kept = len(self.steps)

    def _completes_a_stop(self, text: str) -> bool:
        if not self._request.stop:
            return False
        seen = self._tail + text
        self._tail = seen[-max(map(len, self._request.stop)) :]
        return any(stop in seen for stop in self._request.stop)

    def every_step(self) -> list[TokenStep]:
        """The steps with the end token, where there is one."""
        return [*self.steps, self._closing] if self._closing else list(self.steps)

    def replace(self, steps: Sequence[TokenStep]) -> None:
        """The finished lane: a reply that ends inside a character may have given a token another text."""
        final = list(counted(tuple(steps), self._end_ids))
        pairs = zip(self.steps, final, strict=False)
        same = itertools.takewhile(lambda pair: pair[0] is pair[1] or pair[0].text == pair[1].text, pairs)
        self.steps, self.all_steps, self.kept = final, len(steps), sum(1 for _ in same)
