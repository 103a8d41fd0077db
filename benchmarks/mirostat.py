"""Whether Mirostat's mean surprise meets its target on the loaded model, and how many replies fall into a loop.

Fidelity, not speed. Every seed writes one reply of a fixed length under each policy; the end token is suppressed. Seeds
take turns on the first gallery prompt of four families. Surprise is in bits, as each version feeds it back: v1 of the
model's own distribution, v2 of the renormalised one. A reply loops when more than half of the 4-grams of its last 100
tokens are repeats; loops are counted and left out of the means. Since mu moves by eta for every bit off the target, the
mean misses it by (mu at the start − mu at the end) / (eta · tokens) unless mu is at its cap, so the mean without the
first 50 tokens is given too. `fixed` at T = 1 shows what is reachable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value
from models.language_model import LanguageModel, Output
from playground.decoding.engine import stream
from playground.decoding.policies.base import Head, Resources, Row
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Finished, Request, Trace
from playground.gallery import load_gallery
from playground.parts import load_parts

TITLE = "whether Mirostat's mean surprise meets its target"
STEERED = ("mirostat-v1:", "mirostat-v2:", "mirostat-v2:eta=0.1,")
FAMILIES = ("creative", "many-answers", "instruction", "chat")
SETTLED = 50  # tokens in which mu comes most of the way from 2·tau to where it works
POLICIES: tuple[tuple[str, float | None], ...] = (
    *((f"{name}tau_bits={target:g}", target) for name in STEERED for target in (2.0, 3.0)),
    ("fixed:temperature=1", None),
)


class Endless:
    """A model that cannot end a reply: the logits of its end tokens are −∞. All else is the model's own."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._ends = sorted(model.end_ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        return [self._without_end(output) for output in self._model.forward(asks)]

    def _without_end(self, output: Output) -> Output:
        logits = output.logits.clone()
        logits[:, self._ends] = -math.inf
        return Output(logits, output.hidden)


def loops(trace: Trace) -> bool:
    """Whether more than half of the 4-grams of the last 100 tokens stand there already."""
    last = trace.token_ids[-100:]
    grams = [last[i : i + 4] for i in range(len(last) - 3)]
    return len(set(grams)) < 0.5 * len(grams)


def replies(asked: Asked, model: Any, seeds: int, tokens: int) -> list[tuple[Trace, ...]]:
    """For every seed, one reply a policy, the last of them at T = 1; the seeds of one prompt run in one batch."""

    def no_head(name: str) -> Head:
        raise AssertionError("none of these policies is learned")

    first = {prompt.family: prompt for prompt in reversed(load_gallery())}
    specs = [catalogue({}).parse(spec) for spec, _ in POLICIES]
    found: list[tuple[Trace, ...]] = []
    for place, family in enumerate(FAMILIES):
        request = Request(first[family].prompt, max_tokens=tokens)
        mine = range(place, seeds, len(FAMILIES))
        rows = [Row(spec, 0, seed) for seed in mine for spec in specs]
        for event in stream(model, request, rows, Resources(no_head)) if rows else ():
            if isinstance(event, Finished):
                lanes = iter(event.traces)
                found += [tuple(next(lanes) for _ in specs) for _ in mine]
        asked.progress(f"{family}: seeds {', '.join(map(str, mine))}")
    return found


def surprise(trace: Trace, start: int = 0) -> float:
    """Mean surprise in bits from this token on: as fed back, or at T = 1 for `fixed`."""
    return fmean(step.channel.get("surprise_bits", -step.logprob / math.log(2)) for step in trace.steps[start:])


def at_cap(trace: Trace, vocabulary: int) -> float:
    """The share of tokens at which mu stood at its cap, log2 V."""
    return fmean(step.channel.get("mu", 0.0) > math.log2(vocabulary) - 1e-4 for step in trace.steps)


def figures(traces: list[Trace], target: float | None, vocabulary: int) -> dict[str, Value]:
    """Mean surprise of the replies that do not loop, its distance from the target, and the loops."""
    straight = [surprise(trace) for trace in traces if not loops(trace)]
    mean = fmean(straight) if straight else None
    settled = [surprise(trace, SETTLED) for trace in traces if not loops(trace) and len(trace.steps) > SETTLED]
    return {
        "replies": len(traces),
        "loops": len(traces) - len(straight),
        "target": target,
        "mean surprise": mean,
        "off": None if mean is None or target is None else mean / target - 1,
        "lowest": min(straight, default=None),
        "highest": max(straight, default=None),
        "after 50": fmean(settled) if settled else None,
        "off after 50": fmean(settled) / target - 1 if settled and target else None,
        "mu at cap": fmean(at_cap(trace, vocabulary) for trace in traces),
        "of loops": fmean(map(surprise, looping)) if (looping := [t for t in traces if loops(t)]) else None,
        "entropy at T = 1": fmean(step.entropy for trace in traces for step in trace.steps) / math.log(2),
    }


COLUMNS = {
    "policy": "",
    "loops": "d",
    "replies": "d",
    "target": "g",
    "mean surprise": ".3f",
    "off": "+.1%",
    "lowest": ".2f",
    "highest": ".2f",
    "after 50": ".3f",
    "off after 50": "+.1%",
    "mu at cap": ".0%",
    "of loops": ".2f",
    "entropy at T = 1": ".2f",
}


def run(asked: Asked) -> Result:
    seeds, tokens = asked.size(8, 2), asked.size(250, 60)
    model = load_parts(asked.settings).language_model
    found = replies(asked, Endless(model), seeds, tokens)
    rows: list[dict[str, Value]] = [
        {"policy": spec, **figures([traces[lane] for traces in found], target, model.vocab_size)}
        for lane, (spec, target) in enumerate(POLICIES)
    ]
    how = conditions(model=model, seeds=seeds, tokens=tokens)
    note = "The end token is suppressed; surprise and entropy are in bits."
    return Result("mirostat", how, [Table("Mean surprise", COLUMNS, rows)], (note,))
