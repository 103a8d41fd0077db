"""A decoder of prepared traces at a set pace, in the place of the app's parts: what the page costs without a model."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from playground.config import Settings
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.trace import (
    Alternative,
    Event,
    Finished,
    LaneStep,
    Request,
    Started,
    Stop,
    TokenStep,
    Trace,
    float32_digits,
)
from playground.feedback.store import Store

SPECS = ("mirostat-v2", "target-entropy", "edt", "fixed:temperature=0.7")
PIECES = [
    "",
    "the,",
    "and.",
    "of\n",
    "to;",
    "light\n\n",
    "keeper",
    "é",
    "ship",
    "“s”",
    "ing",
    "<b>",
    "東京",
    "\\n",
    "ly",
    "☀",
    "counts",
    "$",
    "{a}",
    "lamp’",
    "🙂",
]
SHOWN = 5


@dataclass
class Paced:
    """Parts whose decoder gives every lane one token a pass, `passes` a second (0: as fast as they are taken).

    `emitted` holds the wall-clock time of every pass of the last stream, `closed` how many passes each stream made.
    """

    settings: Settings
    passes: float = 50.0
    heads: tuple[Any, ...] = ()
    refused_heads: tuple[str, ...] = ()
    arena: tuple[str, ...] = ()
    emitted: list[float] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    visitors: bool = True
    catalogue: Catalogue = field(default_factory=lambda: catalogue({}))
    language_model: Any = field(
        default_factory=lambda: SimpleNamespace(
            name="prepared",
            revision="r0",
            precision="float32",
            precision_reason="",
            device="cpu",
            end_ids=frozenset({0}),
            control_tokens={},
        )
    )

    @cached_property
    def store(self) -> Store:
        return Store.open(self.settings.sqlalchemy_url, self.settings.data_folder)

    def stream(self, request: Request, specs: Sequence[str], replicas: Sequence[int] | None = None) -> Iterator[Event]:
        """Started, one tuple of steps a pass, Finished; every lane has `max_tokens` tokens."""
        headers = [_header(request, spec) for spec in specs]
        lanes = [self.steps(spec, request.max_tokens, lane) for lane, spec in enumerate(specs)]
        self.emitted = []
        try:
            yield Started(tuple(headers))
            began = time.monotonic()
            for number, steps in enumerate(zip(*lanes, strict=True)):
                if self.passes:
                    time.sleep(max(0.0, began + (number + 1) / self.passes - time.monotonic()))
                self.emitted.append(time.time())
                stop: Stop | None = "length" if number + 1 == request.max_tokens else None
                yield tuple(LaneStep(lane, step, stop) for lane, step in enumerate(steps))
            timings = {"decode_seconds": time.monotonic() - began}
            yield Finished(tuple(h.with_steps(s, "length", timings) for h, s in zip(headers, lanes, strict=True)))
        finally:
            self.closed.append(len(self.emitted))

    def steps(self, spec: str, tokens: int, lane: int = 0) -> list[TokenStep]:
        """The steps of one lane: always the same for the same spec and lane, with float32 digits and its channels."""
        draw = random.Random(f"{spec}/{lane}")
        channels = self.catalogue.parse(spec).channels
        return [
            _step(draw, position, {c.name: float32_digits(draw.uniform(c.low, c.high)) for c in channels})
            for position in range(tokens)
        ]


def _step(draw: random.Random, position: int, channel: dict[str, float]) -> TokenStep:
    probs = sorted((float32_digits(draw.random() ** 4) for _ in range(SHOWN)), reverse=True)
    shown = tuple(Alternative(100 + i, draw.choice(PIECES), p, p) for i, p in enumerate(probs))
    entropy, logprob = float32_digits(draw.uniform(0.0, 5.0)), float32_digits(-draw.uniform(0.0, 8.0))
    return TokenStep(
        position, 10 + position, f"{draw.choice(PIECES)} ", draw.choice((0.2, 0.4, 0.7, 1.0, 1.2)), None, None, None,
        entropy, entropy, logprob, logprob, shown, channel,
    )  # fmt: skip


def _header(request: Request, spec: str) -> Trace:
    return Trace(
        spec, "prepared", "r0", None, "float32", request.seed, "own", 0, request.prompt, (1, 2), None, "", "cancelled",
        ("temperature",), None, (),
    )  # fmt: skip
