"""`sample`: many replies to every prompt, their temperatures drawn from the uniform grid, best against worst by a reward.

All candidates of a prompt run in one batch. At token level every token draws its temperature, at sequence level every
reply does. Each pair becomes one preference/1 line with source "verifier"; FILE.manifest.json counts what was dropped
and why. A run that was cut short goes on where it stopped.

Departure from the paper: it keeps one pair a prompt, best against worst; `pairs` takes the k-th best against the k-th
worst for k = 1 … pairs, since the signal per prompt is weak for a model of this size.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from playground.decoding.trace import Trace, canonical_json
from playground.records import Preference
from playground.training.lanes import UNIFORM, prompt_records, replies, request_for, uniform
from playground.training.rewards import Reward, reward_named


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
) -> Mapping[str, int]:
    """Writes the preference file `out` and its manifest; returns the counts. `model` satisfies the engine's protocol."""
    judge = reward_named(reward)
    records = prompt_records(prompts, split, limit)
    progress = out.with_name(out.name + ".progress")
    done = _finished(progress, out)
    heads = {UNIFORM: uniform(level, model.hidden_size)}
    specs = [f"adaptive-{level}:checkpoint={UNIFORM},select=sample"] * n
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file, progress.open("a", encoding="utf-8") as log:
        for record in tqdm([r for r in records if r["id"] not in done], desc=f"{level} {reward}"):
            traces = replies(model, request_for(record, seed, max_tokens), specs, heads)
            counts: Counter[str] = Counter(prompts=1, candidates=len(traces))
            for preference in make_pairs(record, traces, judge, level, pairs, counts):
                file.write(canonical_json(preference.to_record()) + "\n")
            file.flush()
            log.write(json.dumps([record["id"], file.tell(), counts]) + "\n")
            log.flush()
            done[record["id"]] = counts
    total: Counter[str] = sum(done.values(), Counter())
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    manifest = {"reward": reward, "level": level, "n": n, "seed": seed, "counts": dict(total), "sha256": digest}
    out.with_name(out.name + ".manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return total


def make_pairs(
    record: Mapping[str, Any], traces: Sequence[Trace], reward: Reward, level: str, pairs: int, counts: Counter[str]
) -> Iterator[Preference]:
    """The k-th best against the k-th worst, k = 1 … pairs, without those that teach nothing; `counts` says why each left."""
    scores = [reward.score(record, trace.text) for trace in traces]
    order = sorted(range(len(traces)), key=lambda i: -scores[i])
    for k in range(min(pairs, len(order) // 2)):
        best, worst = order[k], order[-1 - k]
        winner, loser = traces[best], traces[worst]
        if scores[best] == scores[worst]:
            counts["dropped: equal reward"] += 1
        elif not reward.comparable(winner.text, loser.text):
            counts["dropped: fewer dictionary words"] += 1
        elif level == "sequence" and winner.steps[0].temperature == loser.steps[0].temperature:
            counts["dropped: equal temperature"] += 1
        else:
            counts["pairs"] += 1
            yield Preference(
                vote_id=f"{reward.name}-{record['id']}-{k}",
                battle_id=f"{reward.name}-{record['id']}-{k}",
                source="verifier",
                blind=True,
                mode="collect",
                outcome="a",
                left="a",
                propensity=None,
                prompt=record["prompt"],
                family=reward.family,
                a=(winner,),
                b=(loser,),
            )


def _finished(progress: Path, out: Path) -> dict[str, Counter[str]]:
    """The prompts that an earlier run completed; a half-written prompt behind the last one is cut off."""
    done: dict[str, Counter[str]] = {}
    end = 0
    if progress.is_file():
        for line in progress.read_text(encoding="utf-8").splitlines():
            name, end, counts = json.loads(line)
            done[name] = Counter(counts)
    if out.is_file():
        with out.open("r+b") as file:
            file.truncate(end)
    return done
