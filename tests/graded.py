"""Votes between TinyLM's replies, made without a rater: even numbers prefer the first reply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from playground.decoding.trace import Trace
from playground.records import Preference
from playground.training.labels.lanes import UNIFORM, replies, request_for, uniform
from tests.tiny_lm import TinyLM


def decoded(tiny: TinyLM, prompt: str, specs: Sequence[str], seed: int = 1, tokens: int = 6) -> tuple[Trace, ...]:
    """One reply a spec; `adaptive-*` specs may name the untrained head as UNIFORM."""
    level = "sequence" if any(spec.startswith("adaptive-sequence") for spec in specs) else "token"
    heads = {UNIFORM: uniform(level, tiny.hidden_size)}
    return replies(tiny, request_for({"prompt": prompt}, seed, tokens), specs, heads)


def sampled(level: str) -> str:
    return f"adaptive-{level}:checkpoint={UNIFORM},select=sample"


def vote(a: Sequence[Trace], b: Sequence[Trace], outcome: str = "a", **values: Any) -> Preference:
    known: dict[str, Any] = {"vote_id": "v", "battle_id": "b", "source": "human", "blind": True, "mode": "collect"}
    known |= {"left": "a", "propensity": None, "prompt": a[0].prompt, "family": None}
    return Preference(outcome=outcome, a=tuple(a), b=tuple(b), **(known | values))  # type: ignore[arg-type]


def votes(tiny: TinyLM, level: str, count: int, tokens: int = 6) -> list[Preference]:
    """`count` votes on as many prompts between two replies whose temperatures were sampled."""
    made = []
    for number in range(count):
        a, b = decoded(tiny, f"Prompt {number}", [sampled(level)] * 2, number, tokens)
        chosen = vote([a], [b], "a" if number % 2 == 0 else "b")
        made.append(replace(chosen, vote_id=str(number), battle_id=str(number)))
    return made


def write(path: Path, preferences: Sequence[Preference]) -> Path:
    path.write_text("".join(json.dumps(preference.to_record()) + "\n" for preference in preferences))
    return path
