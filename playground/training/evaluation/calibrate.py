"""`calibrate`: the constant temperature that matches a head, for `matched` when it runs alone or blind.

Every head decodes held-out prompts under argmax. Over all its tokens together, each weighing the same, the constant T is
solved for at which the mean entropy of softmax(h/T), at the head's own positions, equals the mean entropy it drew from.
The correlation of its temperatures with the entropy at T = 1 is measured on the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

from torch import Tensor
from tqdm import tqdm

from models import strict_json
from models.checkpoints import Checkpoint, describe, get
from models.meta import Base
from playground.decoding.policies.matched import constant_temperature, mean_entropy
from playground.decoding.trace import Trace
from playground.errors import PlaygroundError
from playground.training.evaluation import card
from playground.training.labels.lanes import replies, request_for, trained

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"
SUITES = tuple(PROMPTS / f"{name}.json" for name in ("gallery", "stories", "facts"))


def run(
    model: Any,
    heads: Sequence[str],
    folders: Sequence[Path],
    prompts: Path | None = None,
    limit: int = 24,
    max_tokens: int = 48,
    seed: int = 1,
    command: str = "",
) -> None:
    """Decodes, solves, and writes the figures into each head's meta and card."""
    base = Base.of(model)
    checkpoints = [get(folders, name, base) for name in heads]
    ready = {c.name: trained(c) for c in checkpoints}
    specs = [f"{c.meta.kind}:checkpoint={c.name}" for c in checkpoints]
    records = prompts_of(prompts, limit)
    requests = [replace(request_for(r, seed, max_tokens), source=r.get("source")) for r in records]
    decoded = [replies(model, request, specs, ready) for request in tqdm(requests, desc="calibrate")]
    for checkpoint, traces in zip(checkpoints, zip(*decoded, strict=True), strict=True):
        logits = [model.score(trace.prompt_ids, trace.token_ids) for trace in traces]
        figures = {**figures_of(traces, logits), "max_tokens": max_tokens, "seed": seed, "command": command}
        _record(checkpoint, figures)


def prompts_of(prompts: Path | None, limit: int) -> list[dict[str, Any]]:
    """The prompts that are decoded: of the file `prompts`, else of the project's own."""
    return held_out(SUITES if prompts is None else (prompts,), limit)


def held_out(files: Iterable[Path], limit: int) -> list[dict[str, Any]]:
    """At most `limit` prompts, as many of each file, thinned evenly: those of the test split, or without any split.

    Raises PlaygroundError for a file that holds none.
    """
    files = list(files)
    share = max(1, limit // len(files))
    chosen: list[dict[str, Any]] = []
    for path in files:
        try:
            found = [
                {**record, "prompt": str(record["prompt"])}
                for record in strict_json.loads(path.read_text(encoding="utf-8"))
                if record.get("split", "test") == "test" and record["prompt"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PlaygroundError(f"`prompts` must be a JSON list of objects with prompt; {path} is not.") from error
        if not found:
            raise PlaygroundError(
                f"`prompts` must hold prompts of the test split, or without a split; {path} has none."
            )
        count = min(share, len(found))
        chosen += [found[i * len(found) // count] for i in range(count)]
    return chosen


def figures_of(traces: Sequence[Trace], logits: Sequence[Tensor]) -> dict[str, Any]:
    """The matched constant of these replies, what it was matched to, and temperature against entropy.

    `logits` are the raw ones of each reply [T, V]. The correlation is None where the temperature never changes.
    """
    steps = [step for trace in traces for step in trace.steps]
    temperatures, entropies = [step.temperature for step in steps], [step.entropy for step in steps]
    drawn = fmean(step.entropy_after for step in steps)
    matched = constant_temperature(logits, drawn)
    changes = len(set(temperatures)) > 1 and len(set(entropies)) > 1
    return {
        "temperature": matched,
        "mean_temperature": fmean(temperatures),
        "mean_entropy_drawn": drawn,
        "mean_entropy_matched": mean_entropy(logits, matched)[0] if matched else 0.0,
        "correlation": correlation(temperatures, entropies) if changes else None,
        "prompts": len(traces),
        "tokens": len(steps),
    }


def _record(checkpoint: Checkpoint, figures: Mapping[str, Any]) -> None:
    metrics = {
        **checkpoint.meta.metrics,
        "matched_entropy": dict(figures),
        "matched_entropy_temperature": figures["temperature"],
    }
    meta = replace(checkpoint.meta, metrics=metrics)
    describe(checkpoint, meta, card.text(checkpoint.name, meta))
