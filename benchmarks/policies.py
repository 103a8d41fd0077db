"""What a policy costs: time of one decode step beside `fixed`, every policy alone in its lane, on the embedded model.

Rounds go over all policies in turn, so that a slow minute of the machine falls on all of them; the figure is the median
over rounds of (policy's time per token) / (`fixed`'s time per token in the same round). Ratios count, times do not.

    python benchmarks/policies.py [--rounds 5] [--tokens 32] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from playground.decoding.trace import Request
from playground.parts import Parts, load_parts

PROMPT = "Write a short story about a lighthouse keeper who counts ships."
SOURCE = "The lighthouse at Hook Head in Ireland has stood for eight hundred years. Monks kept its first fires."
BOUND = 1.35


def seconds_per_token(parts: Parts, spec: str, tokens: int, seed: int) -> float:
    """Decoding time of one reply over its tokens; the prefill is not counted."""
    request = Request(PROMPT, seed=seed, max_tokens=tokens, source=SOURCE)
    (trace,) = parts.generate(request, [spec])
    return trace.timings["decode_seconds"] / len(trace.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    asked = parser.parse_args()
    parts = load_parts()
    kinds = [kind for kind in parts.catalogue.kinds if not asked.only or kind.name in (*asked.only, "fixed")]
    times: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for kind in kinds:
        seconds_per_token(parts, kind.name, 4, 0)  # loads what the policy needs
    for number in range(asked.rounds):
        for kind in kinds:
            times[kind.name].append(seconds_per_token(parts, kind.name, asked.tokens, number))
    ratios = {
        name: statistics.median(own / fixed for own, fixed in zip(values, times["fixed"], strict=True))
        for name, values in times.items()
    }
    extra = {kind.name for kind in kinds if kind.decoder is not None or kind.name == "kl-guided"}
    print(
        f"{asked.rounds} rounds, {asked.tokens} tokens, one lane, {torch.get_num_threads()} threads, float32, medians"
    )
    print(f"{'policy':<20} {'time of fixed':>13}   forward passes of its own")
    for name, ratio in ratios.items():
        mark = "yes" if name in extra else "" if ratio <= BOUND else f"ABOVE {BOUND}"
        print(f"{name:<20} {ratio:>13.2f}   {mark}")
    print(
        json.dumps({"benchmark": "policies", "rounds": asked.rounds, "tokens": asked.tokens, "ratio_to_fixed": ratios})
    )


if __name__ == "__main__":
    main()
