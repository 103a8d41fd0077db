"""Traces and steps as the plain values that the page draws: wire tuples, inspection cards, figures. No torch, no Gradio.

A *counted* step is one that is drawn: every step but the end token.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from playground.analysis.measures import repeated_ngram_share
from playground.decoding.trace import TokenStep, Trace

WireToken = tuple[str, float, float, float | None]


def wire_token(step: TokenStep) -> WireToken:
    """(text, temperature, entropy, log-probability at T = 1), numbers as recorded; None stands for −inf."""
    return step.text, step.temperature, step.entropy, _finite(step.logprob)


def counted(steps: Sequence[TokenStep], end_ids: Collection[int]) -> tuple[TokenStep, ...]:
    """The steps that are drawn: `steps` without a closing end token."""
    if steps and steps[-1].token_id in end_ids and steps[-1].text == "":
        return tuple(steps[:-1])
    return tuple(steps)


def inspection(step: TokenStep, trace: Trace) -> dict[str, Any]:
    """Everything the card of one token shows beyond its wire tuple; probabilities, not logarithms.

    `grid` pairs each temperature the policy could choose with its probability, or is None where there is no grid.
    `alternatives` are (text, probability at T = 1, probability as drawn, whether it is the drawn token), best first; the
    drawn token is added where it is not among them.
    """
    rows = [(other.text, other.prob, other.prob_after, other.id == step.token_id) for other in step.alternatives]
    if not any(drawn for *_, drawn in rows):
        rows.append((step.text, math.exp(step.logprob), math.exp(step.logprob_drawn), True))
    return {
        "position": step.position,
        "id": step.token_id,
        "prob": math.exp(step.logprob),
        "prob_drawn": math.exp(step.logprob_drawn),
        "entropy_after": step.entropy_after,
        "grid": _grid(step, trace),
        "alternatives": rows,
        "channel": dict(step.channel),
    }


def _grid(step: TokenStep, trace: Trace) -> list[tuple[float, float, bool]] | None:
    if trace.grid is None or step.grid_probs is None:
        return None
    return [
        (temperature, prob, index == step.grid_index)
        for index, (temperature, prob) in enumerate(zip(trace.grid, step.grid_probs, strict=True))
    ]


def figures(steps: Sequence[TokenStep], seconds: float | None, stop: str) -> list[tuple[str, str]]:
    """(name, value) pairs under a lane, from its counted steps; `seconds` is the lane's decoding time."""
    if not steps:
        return [("tokens", "0"), ("ended by", _STOPS[stop])]
    temperatures = [step.temperature for step in steps]
    low, high, mean = min(temperatures), max(temperatures), sum(temperatures) / len(steps)
    text = "".join(step.text for step in steps)
    return [
        ("tokens", str(len(steps))),
        ("mean temperature", f"{mean:.2f}"),
        ("range", f"{low:.2f}" if low == high else f"{low:.2f} – {high:.2f}"),
        ("mean entropy", f"{sum(step.entropy for step in steps) / len(steps):.2f} nats"),
        ("repeated 4-grams", f"{100 * repeated_ngram_share(text, 4):.1f} %"),
        ("tokens per second", "–" if not seconds else f"{len(steps) / seconds:.1f}"),
        ("ended by", _STOPS[stop]),
    ]


_STOPS: Mapping[str, str] = {
    "end": "end token",
    "length": "length",
    "stop_string": "stop string",
    "cancelled": "Stop",
    "error": "error",
}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
