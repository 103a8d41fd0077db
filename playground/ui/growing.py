"""One lane of a run while it grows: what a step adds is counted as it comes, so that no question reads the lane again."""

from __future__ import annotations

import itertools

from playground.decoding.trace import LaneStep, Stop, TokenStep, Trace


class Growing:
    """The counted steps of a lane (without a closing end token) and how it has ended, as the decoder said."""

    def __init__(self) -> None:
        self.steps: list[TokenStep] = []
        self.all_steps = 0
        self.ending: Stop | None = None
        self.kept = 0  # as many of the first texts are still those that streamed
        self._closing: TokenStep | None = None

    def add(self, passed: LaneStep) -> None:
        """One more step."""
        if passed.stop == "end":
            self._closing = passed.step
        else:
            self.steps.append(passed.step)
        self.ending = passed.stop
        self.all_steps += 1
        self.kept = len(self.steps)

    def every_step(self) -> list[TokenStep]:
        """The steps with the end token, where there is one."""
        return [*self.steps, self._closing] if self._closing else list(self.steps)

    def replace(self, trace: Trace) -> None:
        """The finished lane: a reply that ends inside a character may have given a token another text."""
        final = list(trace.shown_steps)
        pairs = zip(self.steps, final, strict=False)
        same = itertools.takewhile(lambda pair: pair[0] is pair[1] or pair[0].text == pair[1].text, pairs)
        self.steps, self.all_steps, self.kept = final, len(trace.steps), sum(1 for _ in same)
