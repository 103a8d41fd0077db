"""Whether Mirostat's mean surprise meets its target on the loaded model, and how many replies fall into a loop.

    python benchmarks/mirostat.py [--seeds 8] [--tokens 250] [--model …]

Every seed writes one reply of a fixed length under each policy; the end token is suppressed. Surprise is in bits, as each
version feeds it back: v1 of the model's own distribution, v2 of the renormalised one. A reply loops when more than half of
the 4-grams of its last 100 tokens are repeats; loops are counted and left out of the means. `fixed` at T = 1 shows what is
reachable. The table gives the figures, the last line is JSON.
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

PROMPT = "Write a long story about a lighthouse keeper and a storm."
TARGETS = (2.0, 3.0)
SPECS = tuple(f"mirostat-v{version}:tau_bits={target}" for version in (1, 2) for target in TARGETS)


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
    return 1 - len(set(grams)) / len(grams) > 0.5


def replies(model: Any, seeds: int, tokens: int) -> list[tuple[Trace, ...]]:
    """For every seed, one reply a policy, the last of them at T = 1."""

    def no_head(name: str) -> Head:
        raise AssertionError("none of these policies is learned")

    specs = [catalogue({}).parse(spec) for spec in (*SPECS, "fixed:temperature=1.0")]
    rows = [Row(spec, 0, seed) for seed in range(seeds) for spec in specs]  # all in one batch
    for event in stream(model, Request(PROMPT, max_tokens=tokens), rows, Resources(no_head)):
        if isinstance(event, Finished):
            lanes = iter(event.traces)
            return [tuple(next(lanes) for _ in specs) for _ in range(seeds)]
    raise AssertionError("a stream ends with Finished")


def surprise(trace: Trace) -> float:
    """Mean surprise in bits: as fed back, or at T = 1 for `fixed`."""
    return fmean(step.channel.get("surprise_bits", -step.logprob / math.log(2)) for step in trace.steps)


def figures(traces: list[Trace], target: float | None) -> dict[str, Any]:
    """Mean surprise of the replies that do not loop, its distance from the target, and the loops."""
    straight = [surprise(trace) for trace in traces if not loops(trace)]
    mean = fmean(straight) if straight else None
    return {
        "replies": len(traces),
        "loops": len(traces) - len(straight),
        "target_bits": target,
        "mean_bits": mean,
        "lowest_bits": min(straight, default=None),
        "highest_bits": max(straight, default=None),
        "off_target": None if mean is None or target is None else mean / target - 1,
        "loops_mean_bits": fmean(map(surprise, looping)) if (looping := [t for t in traces if loops(t)]) else None,
        "reachable_bits": fmean(step.entropy for trace in traces for step in trace.steps) / math.log(2),
    }


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| policy | loops | target | mean surprise | off | lowest–highest | of loops | mean entropy at T = 1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        span = f"{shown(row['lowest_bits'], '.2f')}–{shown(row['highest_bits'], '.2f')}"
        cells = (
            f"{row['loops']} of {row['replies']}",
            shown(row["target_bits"], "g"),
            shown(row["mean_bits"], ".3f"),
            shown(row["off_target"], "+.1%"),
            span,
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
    targets = (*(target for _ in (1, 2) for target in TARGETS), None)
    rows = {
        name: figures([traces[lane] for traces in found], target)
        for lane, (name, target) in enumerate(zip((*SPECS, "fixed, T = 1"), targets, strict=True))
    }
    print(f"{model.name}, {flags.seeds} seeds × {flags.tokens} tokens, end token suppressed, surprise in bits")
    print(table(rows))
    print(json.dumps({"benchmark": "mirostat", "tokens": flags.tokens, "policies": rows}))


if __name__ == "__main__":
    main()
