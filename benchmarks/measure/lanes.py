"""Lanes of the app's own engine, timed: whole requests with their full traces, replies that nothing ends early."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from playground.decoding.trace import Request
from playground.parts import Parts

PROMPTS = (
    "Write a long story about a lighthouse keeper who counts ships.",
    "Describe a market town on the morning after a storm.",
    "Explain at length how a sailing ship is steered.",
    "Tell the story of a violin that changed hands six times.",
    "Write a long letter from a gardener to her brother.",
    "Describe how bread was baked two hundred years ago.",
    "Tell the story of two clockmakers and one clock.",
    "Explain at length why rivers bend.",
)
FIXED = "fixed:temperature=0.7"


@dataclass(frozen=True)
class Timed:
    """Tokens made, the seconds of the whole request, of its decoding alone, and of all threads' work on it."""

    tokens: int
    seconds: float
    decode_seconds: float
    processor_seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second from the request to the last token."""
        return self.tokens / self.seconds

    @property
    def decode_rate(self) -> float:
        """Tokens a second without reading the prompt."""
        return self.tokens / self.decode_seconds

    @property
    def processor_rate(self) -> float:
        """Tokens a second of processor time, which other programs on the machine disturb least."""
        return self.tokens / self.processor_seconds


def prompt_of(number: int) -> str:
    """The prompt of a round; its first words differ in every round, so no round finds its prompt read already."""
    return f"Number {number}. {PROMPTS[number % len(PROMPTS)]}"


def endless(parts: Parts) -> Parts:
    """The same parts with an end token that ends nothing, so that every reply has the tokens asked for."""
    parts.language_model.end_ids = frozenset()
    return parts


def decode(parts: Parts, specs: Sequence[str], tokens: int, number: int) -> Timed:
    """One request with a lane a spec, through the same door as the page's."""
    began, worked = time.perf_counter(), time.process_time()
    traces = parts.generate(Request(prompt_of(number), seed=number, max_tokens=tokens), specs)
    seconds, work = time.perf_counter() - began, time.process_time() - worked
    made = sum(len(trace.steps) for trace in traces)
    return Timed(made, seconds, max(trace.timings["decode_seconds"] for trace in traces), work)
