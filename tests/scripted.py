"""Parts with a scripted decoder: the page's own seams without a model. The catalogue, the store and the traces are real."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from playground.config import Settings
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.trace import Alternative, Event, Finished, LaneStep, Request, Started, TokenStep, Trace
from playground.feedback.store import Store

END = 0
GRID = (0.0, 0.4, 0.8, 1.2)
WORDS = (
    "Once",
    " upon",
    " a",
    " time",
    ",",
    " the",
    " lamp",
    " was",
    " lit",
    ".",
    "\n\n",
    " Then",
    " ☀",
    "",
    " rain",
    ".",
)


def step(position: int, text: str, lane: int = 0, token_id: int | None = None) -> TokenStep:
    """One step whose numbers depend on lane and position, so that a mix-up shows."""
    index = (position * 7 + lane) % 4
    temperature = GRID[index] if lane % 2 == 0 else 0.7
    entropy = 0.25 + (position * 5 + lane) % 9 / 2
    logprob = -0.5 - (position * 3 + lane) % 5
    grid_probs = tuple(0.4 if i == index else 0.2 for i in range(4)) if lane % 2 == 0 else None
    alternatives = tuple(Alternative(100 + i, f" alt{i}", 0.3 / (i + 1), 0.4 / (i + 1)) for i in range(4))
    return TokenStep(
        position, 10 + position if token_id is None else token_id, text, temperature,
        index if grid_probs else None, math.log(0.4) if grid_probs else None, grid_probs,
        entropy, entropy / 2, logprob, logprob / 2, alternatives,
    )  # fmt: skip


def header(request: Request, spec: str, lane: int = 0) -> Trace:
    return Trace(
        spec, "scripted", "r0", None, "float32", request.seed, "own", 0, request.prompt, (1, 2), None, "", "cancelled",
        ("temperature",), GRID if lane % 2 == 0 else None, (),
    )  # fmt: skip


@dataclass
class ScriptedParts:
    """Streams `texts` a lane (the same for every lane unless two are given), then the end token."""

    settings: Settings
    texts: tuple[tuple[str, ...], ...] = (WORDS * 3, WORDS * 2)
    pause: float = 0.0
    heads: tuple[Any, ...] = tuple(
        SimpleNamespace(name=f"{level}-head", meta=SimpleNamespace(kind=f"adaptive-{level}"))
        for level in ("token", "sequence")
    )
    closed: list[int] = field(default_factory=list)
    language_model: Any = field(
        default_factory=lambda: SimpleNamespace(
            name="scripted", revision="r0", precision="float32", device="cpu", end_ids=frozenset({END})
        )
    )
    catalogue: Catalogue = field(
        default_factory=lambda: catalogue({"adaptive-token": "token-head", "adaptive-sequence": "sequence-head"})
    )

    @cached_property
    def store(self) -> Store:
        return Store.open(self.settings.sqlalchemy_url, self.settings.data_folder)

    def stream(self, request: Request, specs: Sequence[str], replicas: Sequence[int] | None = None) -> Iterator[Event]:
        scripts = [self.texts[lane % len(self.texts)][: request.max_tokens] for lane in range(len(specs))]
        headers = tuple(header(request, spec, lane) for lane, spec in enumerate(specs))
        lanes: list[list[TokenStep]] = [
            [*(step(i, text, lane) for i, text in enumerate(script)), step(len(script), "", lane, END)]
            for lane, script in enumerate(scripts)
        ]
        sent = 0
        try:
            yield Started(headers)
            for position in range(max(map(len, lanes))):
                time.sleep(self.pause)
                yield tuple(
                    LaneStep(lane, steps[position]) for lane, steps in enumerate(lanes) if position < len(steps)
                )
                sent += 1
            traces = zip(headers, lanes, strict=True)
            yield Finished(tuple(h.with_steps(steps, "end", {"decode_seconds": 1.0}) for h, steps in traces))
        finally:
            self.closed.append(sent)
