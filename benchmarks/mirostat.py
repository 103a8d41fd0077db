"""Whether Mirostat's mean surprise meets its target on the loaded model, and how many replies fall into a loop.

    python benchmarks/mirostat.py [--seeds 8] [--tokens 250] [--model …]

Every seed writes one reply of a fixed length under each policy; the end token is suppressed. Seeds take turns on the first
gallery prompt of four families. Surprise is in bits, as each version feeds it back: v1 of the model's own distribution, v2
of the renormalised one. A reply loops when more than half of the 4-grams of its last 100 tokens are repeats; loops are
counted and left out of the means. Since mu moves by eta for every bit off the target, the mean misses it by
(mu at the start − mu at the end) / (eta · tokens) unless mu is at its cap, so the mean without the first 50 tokens is
given too. `fixed` at T = 1 shows what is reachable. The table gives the figures, the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from models.language_model import LanguageModel, Output, load_language_model
from playground.config import add_common_flags, settings_from
from playground.decoding.engine import stream
from playground.decoding.policies.base import Head, Resources, Row
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Finished, Request, Trace
from playground.gallery import load_gallery

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

    def prefill(self, ids: list[int]) -> tuple[Output, Any]:
        output, cache = self._model.prefill(ids)
        return self._without_end(output), cache

    def step(self, tokens: Tensor, cache: Any) -> Output:
        return self._without_end(self._model.step(tokens, cache))

    def _without_end(self, output: Output) -> Output:
        logits = output.logits.clone()
        logits[:, self._ends] = -math.inf
        return Output(logits, output.hidden)


def loops(trace: Trace) -> bool:
    """Whether more than half of the 4-grams of the last 100 tokens stand there already."""
    last = trace.token_ids[-100:]
    grams = [last[i : i + 4] for i in range(len(last) - 3)]
    return len(set(grams)) < 0.5 * len(grams)


def replies(model: Any, seeds: int, tokens: int) -> list[tuple[Trace, ...]]:
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
        print(f"{family}: seeds {', '.join(map(str, mine))}", file=sys.stderr)
    return found


def surprise(trace: Trace, start: int = 0) -> float:
    """Mean surprise in bits from this token on: as fed back, or at T = 1 for `fixed`."""
    return fmean(step.channel.get("surprise_bits", -step.logprob / math.log(2)) for step in trace.steps[start:])


def at_cap(trace: Trace, vocabulary: int) -> float:
    """The share of tokens at which mu stood at its cap, log2 V."""
    return fmean(step.channel.get("mu", 0.0) > math.log2(vocabulary) - 1e-4 for step in trace.steps)


def figures(traces: list[Trace], target: float | None, vocabulary: int) -> dict[str, Any]:
    """Mean surprise of the replies that do not loop, its distance from the target, and the loops."""
    straight = [surprise(trace) for trace in traces if not loops(trace)]
    mean = fmean(straight) if straight else None
    settled = [surprise(trace, SETTLED) for trace in traces if not loops(trace) and len(trace.steps) > SETTLED]
    return {
        "replies": len(traces),
        "loops": len(traces) - len(straight),
        "target_bits": target,
        "mean_bits": mean,
        "lowest_bits": min(straight, default=None),
        "highest_bits": max(straight, default=None),
        "off_target": None if mean is None or target is None else mean / target - 1,
        "settled_bits": fmean(settled) if settled else None,
        "settled_off_target": fmean(settled) / target - 1 if settled and target else None,
        "at_cap": fmean(at_cap(trace, vocabulary) for trace in traces),
        "loops_mean_bits": fmean(map(surprise, looping)) if (looping := [t for t in traces if loops(t)]) else None,
        "reachable_bits": fmean(step.entropy for trace in traces for step in trace.steps) / math.log(2),
    }


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| policy | loops | target | mean surprise | off | lowest–highest | after 50 | off | mu at cap | of loops | entropy at T = 1 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        span = f"{shown(row['lowest_bits'], '.2f')}–{shown(row['highest_bits'], '.2f')}"
        cells = (
            f"{row['loops']} of {row['replies']}",
            shown(row["target_bits"], "g"),
            shown(row["mean_bits"], ".3f"),
            shown(row["off_target"], "+.1%"),
            span,
            shown(row["settled_bits"], ".3f"),
            shown(row["settled_off_target"], "+.1%"),
            f"{row['at_cap']:.0%}",
            shown(row["loops_mean_bits"], ".2f"),
            f"{row['reachable_bits']:.2f}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Decode, print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=250)
    add_common_flags(parser)
    flags = parser.parse_args()
    settings = settings_from(vars(flags), os.environ)
    torch.set_num_threads(os.cpu_count() or 1)
    model = load_language_model(
        settings.model, settings.revision, settings.precision, settings.device, settings.cache_folder
    )
    found = replies(Endless(model), flags.seeds, flags.tokens)
    rows = {
        spec: figures([traces[lane] for traces in found], target, model.vocab_size)
        for lane, (spec, target) in enumerate(POLICIES)
    }
    print(f"{model.name}, {flags.seeds} seeds × {flags.tokens} tokens, end token suppressed, surprise in bits")
    print(table(rows))
    print(json.dumps({"benchmark": "mirostat", "tokens": flags.tokens, "policies": rows}))


if __name__ == "__main__":
    main()
