"""`evaluate`: held-out rewards of heads under argmax, beside every fixed temperature and the shuffled control.

Every policy answers every prompt `samples` times (temperature 0 once: it always says the same). A figure is the mean over
prompts of the mean over samples, with a 95 % t interval over prompts; differences are paired by prompt.

A sequence-level head under argmax is the fixed temperature it picked, so it takes the replies of that fixed lane. Its
shuffled control has the same temperatures for the wrong prompts: the expected score when each prompt gets a temperature
from the head's histogram. At token level `shuffled` permutes the head's own temperatures within the reply.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from models.checkpoints import Base, Checkpoint, describe, get
from playground.decoding.trace import Trace
from playground.training import card
from playground.training.lanes import prompt_records, replies, request_for, trained
from playground.training.rewards import reward_named
from playground.training.statistics import Estimate, difference, estimate

Row = dict[str, Any]


def run(
    model: Any,
    heads: Sequence[str],
    folder: Path,
    prompts: Path,
    reward: str,
    out: Path,
    split: str = "test",
    samples: int = 4,
    limit: int | None = None,
    max_tokens: int = 96,
    seed: int = 1,
    command: str = "",
) -> None:
    """Decodes what `out` does not hold yet, then writes the figures into each head's meta and card."""
    base = Base(model.name, model.revision, model.hidden_size, model.vocab_size)
    checkpoints = [get([folder], name, base) for name in heads]
    judge = reward_named(reward)
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {row["id"]: row for row in _rows(out)}
    with out.open("a", encoding="utf-8") as file:
        for record in tqdm(prompt_records(prompts, split, limit), desc=f"evaluate {reward}"):
            if record["id"] not in known:
                row = measure(model, record, checkpoints, judge.score, samples, max_tokens, seed)
                known[record["id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
    setting = {"split": split, "samples": samples, "max_tokens": max_tokens, "seed": seed, "command": command}
    for checkpoint in checkpoints:
        figures = figures_of(list(known.values()), checkpoint)
        _record(get([folder], checkpoint.name, base), reward, {**setting, **figures})


def measure(
    model: Any,
    record: Mapping[str, Any],
    checkpoints: Sequence[Checkpoint],
    score: Any,
    samples: int,
    max_tokens: int,
    seed: int,
) -> Row:
    """The scores of every policy on one prompt, and the temperatures that each head used."""
    grid = checkpoints[0].meta.grid
    token = [c for c in checkpoints if c.meta.kind == "adaptive-token"]
    sequence = [c for c in checkpoints if c.meta.kind == "adaptive-sequence"]
    lanes = [(f"fixed {t:g}", f"fixed:temperature={t:g}") for t in grid for _ in range(samples if t else 1)]
    for checkpoint in token:
        lanes += [(checkpoint.name, f"adaptive-token:checkpoint={checkpoint.name}")] * samples
    for checkpoint in token:
        donors = [i + 1 for i, (label, _) in enumerate(lanes) if label == checkpoint.name]
        lanes += [(f"shuffled {checkpoint.name}", f"shuffled:of={donor}") for donor in donors]
    lanes += [(c.name, f"adaptive-sequence:checkpoint={c.name}") for c in sequence]
    heads = {c.name: trained(c) for c in checkpoints}
    traces = replies(model, request_for(record, seed, max_tokens), [spec for _, spec in lanes], heads)
    scores: dict[str, list[float]] = {}
    used: dict[str, Counter[int]] = {c.name: Counter() for c in checkpoints}
    for (label, _), trace in zip(lanes, traces, strict=True):
        scores.setdefault(label, []).append(score(record, trace.text))
        if label in used:
            used[label].update(_indices(trace))
    for checkpoint in sequence:
        picked = next(iter(used[checkpoint.name]))
        used[checkpoint.name] = Counter([picked])
        scores[checkpoint.name] = scores[f"fixed {grid[picked]:g}"]
    return {
        "id": record["id"],
        "scores": scores,
        "used": {name: sorted(counts.items()) for name, counts in used.items()},
    }


def figures_of(rows: Sequence[Row], checkpoint: Checkpoint) -> dict[str, Any]:
    """Means, intervals and paired differences of one head against the fixed temperatures and `shuffled`."""
    grid, name = checkpoint.meta.grid, checkpoint.name
    histogram = histogram_of(rows, name, len(grid))
    columns = {f"fixed {t:g}": [fmean(row["scores"][f"fixed {t:g}"]) for row in rows] for t in grid}
    head = [fmean(row["scores"][name]) for row in rows]
    if checkpoint.meta.kind == "adaptive-sequence":
        by_temperature = [columns[f"fixed {t:g}"] for t in grid]
        columns["shuffled"] = [
            sum(share * column[i] for share, column in zip(histogram, by_temperature, strict=True))
            for i in range(len(rows))
        ]
    else:
        columns["shuffled"] = [fmean(row["scores"][f"shuffled {name}"]) for row in rows]
    return {
        "prompts": len(rows),
        "head": _figures(estimate(head)),
        "others": {
            label: {**_figures(estimate(column)), "head_minus_it": _figures(difference(head, column))}
            for label, column in columns.items()
        },
        "temperature_histogram": histogram,
    }


def histogram_of(rows: Sequence[Row], name: str, temperatures: int) -> list[float]:
    """Share of each grid temperature that the head used, every prompt weighing the same."""
    shares = [0.0] * temperatures
    for row in rows:
        total = sum(count for _, count in row["used"][name])
        for index, count in row["used"][name]:
            shares[index] += count / total / len(rows)
    return shares


def _indices(trace: Trace) -> list[int]:
    return [step.grid_index for step in trace.steps if step.grid_index is not None]


def _figures(value: Estimate) -> dict[str, float | None]:
    """JSON knows no infinity: an interval over a single prompt is null."""
    return {key: None if item == float("inf") else item for key, item in asdict(value).items()}


def _record(checkpoint: Checkpoint, reward: str, figures: Mapping[str, Any]) -> None:
    held_out = {**checkpoint.meta.metrics.get("held_out", {}), reward: figures}
    columns = [entry["temperature_histogram"] for entry in held_out.values()]
    histogram = tuple(fmean(shares) for shares in zip(*columns, strict=True))
    metrics = {**checkpoint.meta.metrics, "held_out": held_out}
    meta = replace(checkpoint.meta, metrics=metrics, temperature_histogram=histogram)
    describe(checkpoint, meta, card.text(checkpoint.name, meta))


def _rows(out: Path) -> list[Row]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.is_file() else []
