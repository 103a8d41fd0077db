"""`sample --prompts`: many replies to every prompt, their temperatures drawn from the uniform grid, paired by a reward.

All candidates of a prompt run in one batch. At token level every token draws its temperature; at sequence level every
reply does, without replacement: the numbers of replies at two temperatures differ by one at most. Each pair becomes one preference/1 line
with source "verifier"; FILE.manifest.json counts what was dropped and why. A run that was cut short goes on where it
stopped (journal.py). Tasks of a suite: suite_candidates.py.

Departures from the paper: it keeps one pair a prompt, best against worst; `pairs` and `pairing` allow more (pairing.py),
since the signal per prompt is weak for a model of this size. Traces are kept without timings, which differ from run to
run, and without the alternatives of every step, which no loss reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from playground.decoding.trace import Trace
from playground.records import Preference
from playground.training.labels.journal import WORDING, Journal, selection, wording
from playground.training.labels.lanes import UNIFORM, prompt_records, replies, request_for, uniform
from playground.training.labels.pairing import Candidate, pairs_of, preference
from playground.training.labels.rewards import Reward, check_answers, reward_named

GROUPING = ("split", "class", "cluster")  # of a prompt's record; what is decoded does not depend on them


def run(
    model: Any,
    prompts: Path,
    reward: str,
    out: Path,
    level: str = "token",
    n: int = 16,
    pairs: int = 1,
    split: str = "train",
    limit: int | None = None,
    max_tokens: int = 96,
    seed: int = 0,
    pairing: str = "ranked",
) -> Mapping[str, int]:
    """Writes the preference file `out` and its manifest; returns the counts. `model` satisfies the engine's protocol."""
    judge = reward_named(reward)
    records = prompt_records(prompts, split, limit)
    check_answers(judge, records)
    heads = {UNIFORM: uniform(level, model.hidden_size)}
    specs = [f"adaptive-{level}:checkpoint={UNIFORM},select=sample"] * n
    settings = {"reward": reward, "level": level, "n": n, "seed": seed, "pairing": pairing, "pairs": pairs}
    settings |= {"max_tokens": max_tokens, "prompts": selection(r["id"] for r in records), **origin(model)}
    settings[WORDING] = wording((r["id"], {k: v for k, v in r.items() if k not in GROUPING}) for r in records)
    with Journal(out, settings) as journal:
        for record in tqdm([r for r in records if r["id"] not in journal.counts], desc=f"{level} {reward}"):
            traces = replies(model, request_for(record, seed, max_tokens), specs, heads)
            counts: Counter[str] = Counter(prompts=1, candidates=len(traces))
            made = make_pairs(record, traces, judge, level, pairs, counts, pairing, seed)
            journal.write(record["id"], (preference.to_record() for preference in made), counts)
        journal.finish()
        return journal.total


def make_pairs(
    record: Mapping[str, Any],
    traces: Sequence[Trace],
    reward: Reward,
    level: str,
    pairs: int,
    counts: Counter[str],
    pairing: str = "ranked",
    seed: int = 0,
) -> Iterator[Preference]:
    """The pairs of one prompt's candidates without those that teach nothing; `counts` says why each left."""

    def refused(winner: Candidate, loser: Candidate) -> str | None:
        fits = reward.comparable(winner.traces[0].text, loser.traces[0].text)
        return None if fits else "fewer dictionary words"

    random = Random(f"{seed} {record['id']}")
    candidates = [
        Candidate((lean(t),), reward.score(record, t.text), t.steps[0].temperature if level == "sequence" else None)
        for t in traces
    ]
    for k, (winner, loser) in enumerate(pairs_of(candidates, pairing, pairs, random, counts, refused)):
        yield preference(f"{reward.name}-{record['id']}-{k}", record["prompt"], reward.family, winner, loser)


def lean(trace: Trace) -> Trace:
    """The trace without what differs from run to run and without what no loss reads."""
    return replace(trace, timings={}, steps=tuple(replace(step, alternatives=()) for step in trace.steps))


def origin(model: Any) -> dict[str, str]:
    """Which model writes the replies."""
    return {"model": model.name, "revision": model.revision, "precision": model.precision}
