"""What a policy costs: time of one decode step beside `fixed`, every policy alone in its lane.

Rounds go over all policies in turn; a figure is the median over rounds of (policy's time a token) / (`fixed`'s time a
token in the same round), prefill not counted. Policies that run forward passes of their own have no target.
"""

from __future__ import annotations

from functools import partial

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import Spread, in_turns, ratios
from playground.decoding.trace import Request
from playground.parts import Parts, load_parts

TITLE = "time of one token under every policy, beside fixed"
PROMPT = "Write a short story about a lighthouse keeper who counts ships."
SOURCE = "The lighthouse at Hook Head in Ireland has stood for eight hundred years. Monks kept its first fires."
BOUND = 1.35


def run(asked: Asked) -> Result:
    rounds, tokens = asked.size(5, 3), asked.size(32, 8)
    parts = load_parts(asked.settings)
    kinds = {kind.name: kind for kind in parts.catalogue.kinds}
    for name in kinds:
        seconds_per_token(parts, name, 4, 0)  # loads what the policy needs
    asked.progress("every policy has run once")
    times = in_turns({name: partial(seconds_per_token, parts, name, tokens) for name in kinds}, rounds)
    rows: list[dict[str, Value]] = []
    for name, kind in kinds.items():
        own = kind.decoder is not None or name == "kl-guided"
        ratio = ratios(times[name], times["fixed"])
        wanted: dict[str, Value] = {} if own else target(ratio, most=BOUND)
        milliseconds = Spread.of([1000 * seconds for seconds in times[name]])
        rows.append({"policy": name, "ratio to fixed": ratio, "ms a token": milliseconds, "own passes": own, **wanted})
    columns = {"policy": "", "ratio to fixed": ".2f", "ms a token": ".1f", "own passes": "", "target": "", "met": ""}
    how = conditions(model=parts.language_model, rounds=rounds, tokens=tokens, lanes=1)
    return Result("policies", how, [Table("Time of a token", columns, rows)])


def seconds_per_token(parts: Parts, spec: str, tokens: int, seed: int) -> float:
    """Decoding time of one reply over its tokens; the prefill is not counted."""
    request = Request(PROMPT, seed=seed, max_tokens=tokens, source=SOURCE)
    (trace,) = parts.generate(request, [spec])
    return trace.timings["decode_seconds"] / len(trace.steps)
