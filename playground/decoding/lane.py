"""A lane while it runs: its row, its random stream, its text so far, and whether it has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from playground.decoding.policies.base import Row
from playground.decoding.policies.spec import Spec
from playground.decoding.text import TextPieces
from playground.decoding.trace import LaneStep, Request, Stop, TokenStep, Trace


@dataclass
class Lane:
    """One column of the page. `header` is its trace before the first step; a decoder may complete it when it is built."""

    index: int
    row: Row
    header: Trace
    pieces: TextPieces
    stops: tuple[str, ...]
    end_ids: frozenset[int]
    length: int
    noise: torch.Generator
    steps: list[TokenStep] = field(default_factory=list)
    tail: str = ""
    stop: Stop | None = None
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def emit(self, step: TokenStep) -> LaneStep:
        """Complete the step's text, keep it, and note whether the lane ends here.

        What streams with a step is all that became certain with it; what is kept of it is its own share.
        """
        if step.token_id in self.end_ids:
            self.pieces.flush()
            self._share(self.pieces.shares)
            self.steps.append(step)
            self.stop = "end"
        else:
            self.steps.append(step.with_text(""))
            text = self.pieces.push(step.token_id)
            self._share(self.pieces.shares)
            if self.stops and self._stopped(text):
                self.stop = "stop_string"
            elif len(self.steps) >= self.length:
                self.stop = "length"
            if self.stop:
                text += self.pieces.flush()
                self._share(self.pieces.shares)
            step = self.steps[-1] if self.steps[-1].text == text else step.with_text(text)
        self.seconds = time.perf_counter() - self.began
        return LaneStep(self.index, step, self.stop)

    def _stopped(self, text: str) -> bool:
        """Whether these further characters complete a stop string."""
        self.tail = (self.tail + text)[-sum(map(len, self.stops)) - len(text) :]
        return any(stop in self.tail for stop in self.stops)

    def _share(self, shares: Sequence[str]) -> None:
        """Gives the last steps what became certain of their texts, the last one's share last."""
        for back, text in enumerate(reversed(shares), start=1):
            if text:
                self.steps[-back] = self.steps[-back].with_text(self.steps[-back].text + text)

    def finished(self, prefill_seconds: float) -> Trace:
        """The lane's trace. Timings are of the whole batch: lanes that run together share the clock."""
        assert self.stop is not None
        timings = {
            "prefill_seconds": prefill_seconds,
            "decode_seconds": self.seconds,
            "tokens_per_second": len(self.steps) / max(self.seconds, 1e-9),
        }
        return self.header.with_steps(self.steps, self.stop, timings)


def rows_of(request: Request, specs: Sequence[Spec], first_replicas: Sequence[int] | None = None) -> tuple[Row, ...]:
    """One row a lane; equal specs are numbered as replicas in lane order (or as `first_replicas` says)."""
    seen: dict[str, int] = {}
    rows = []
    for lane, spec in enumerate(specs):
        replica = seen.get(str(spec), 0)
        seen[str(spec)] = replica + 1
        rows.append(Row(spec, first_replicas[lane] if first_replicas else replica, request.seed, request.noise))
    return tuple(rows)
