"""`evaluate --suite repetition`: its own flags, and what it writes: the table of replies, the figures, the report, the cards."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoints import Checkpoint, default_for, describe, find, get
from models.meta import Base
from playground.config import settings_from, whole
from playground.decoding.policies.base import Head
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import NO_CHECKPOINT
from playground.errors import PlaygroundError
from playground.training.labels.lanes import SPLITS, trained
from playground.training.labels.suites.repetition import NAME, tasks
from playground.training.labels.tasks import Task

KIND = "adaptive-token"


def add_repetition_flags(add: Any) -> None:
    """What only this suite reads."""
    add(
        "--policy",
        action="append",
        default=[],
        metavar="SPEC",
        help="repetition: a policy to place at the frontier, with its controls (default: the token-level head)",
    )
    add("--split", choices=SPLITS, help="repetition: whose prompts (default test)")
    add("--samples", type=whole(1), help="repetition: replies for every prompt and policy (default 1)")
    add("--limit", type=whole(1), metavar="N", help="repetition: at most N prompts of each family")


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Writes repetition.replies.jsonl, repetition.json and repetition.html to --out, and the cards of --head."""
    from playground.training import ahead
    from playground.training.commands import command_line, heads_of, load_model
    from playground.training.evaluation import repetition, repetition_card
    from playground.training.evaluation.repetition_figures import figures
    from playground.training.evaluation.repetition_report import in_words, write_report
    from playground.training.train import commit

    split, samples = arguments.split or "test", arguments.samples or 1
    wanted = chosen(tasks(arguments.data), split, arguments.limit)  # refused before the model is loaded
    settings = settings_from(vars(arguments), dict(environment))
    folders = heads_of(arguments, settings)
    ahead.named_heads(folders, arguments.head)
    ahead.output_folder(arguments.out)
    model = load_model(settings)
    base = Base.of(model)
    written = [get(folders, name, base) for name in arguments.head]
    policies, heads = resolved([*map(spec_of, written), *arguments.policy], folders, base)
    table = arguments.out / f"{NAME}.replies.jsonl"
    replies = repetition.run(model, wanted, policies, heads, table, samples)
    result = {
        "suite": NAME,
        "made_by": {
            "command": command_line(),
            "commit": commit(),
            "model": model.name,
            "revision": model.revision,
            "precision": model.precision,
            "split": split,
            "samples": samples,
            "max_tokens": wanted[0].max_tokens,
            "data": arguments.data is not None,
            "checkpoints": {name: head.id for name, head in heads.items()},
        },
        "policies": policies,
        "families": figures(replies, wanted, policies, samples),
    }
    (arguments.out / f"{NAME}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_report(result, arguments.out / f"{NAME}.html")
    for checkpoint in written:
        summary = repetition_card.summary(result, spec_of(checkpoint))
        meta = replace(checkpoint.meta, metrics={**checkpoint.meta.metrics, NAME: summary})
        _describe(checkpoint, meta)
    print(in_words(result))


def chosen(known: Sequence[Task], split: str, limit: int | None) -> list[Task]:
    """The tasks of a split, each family thinned evenly to at most `limit`."""
    kept: list[Task] = []
    for family in dict.fromkeys(task.family for task in known):
        members = [task for task in known if task.family == family and task.split == split]
        count = min(len(members), limit or len(members))
        kept += [members[i * len(members) // count] for i in range(count)]
    if not kept:
        raise PlaygroundError(
            f"The suite {NAME} has no prompts of the split {split!r} here; give --data, or take test."
        )
    return kept


def resolved(specs: Sequence[str], folders: Sequence[Path], base: Base) -> tuple[list[str], dict[str, Head]]:
    """The policies with the checkpoint named that each takes, and those heads; without specs the default token-level head."""
    default = default_for(KIND, find(folders, base).usable)
    known = catalogue({KIND: default.name} if default else {})
    policies, heads = [], {}
    for text in specs or [KIND]:
        name = str(known.parse(text).values.get("checkpoint", ""))
        if name == NO_CHECKPOINT:
            raise PlaygroundError(
                f"{text!r} needs a trained head that fits {base.model}; name one with checkpoint=NAME."
            )
        if name:
            heads[name] = trained(get(folders, name, base))
        if name and "checkpoint=" not in text:
            text += f"{',' if ':' in text else ':'}checkpoint={name}"
        policies.append(text)
    return list(dict.fromkeys(policies)), heads


def spec_of(checkpoint: Checkpoint) -> str:
    """The policy that takes this head."""
    return f"{checkpoint.meta.kind}:checkpoint={checkpoint.name}"


def _describe(checkpoint: Checkpoint, meta: Any) -> None:
    from playground.training.evaluation import card

    describe(checkpoint, meta, card.text(checkpoint.name, meta))
