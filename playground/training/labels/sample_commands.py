"""The command `sample`: replies to a file of prompts or to the tasks of a suite, labelled by a verifiable reward."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playground.config import add_common_flags, settings_from, whole
from playground.errors import PlaygroundError
from playground.training.labels.pairing import PAIRINGS
from playground.training.labels.rewards import REWARDS
from playground.training.labels.tasks import SUITES

ONLY_PROMPTS = ("reward", "n", "max_tokens")
ONLY_SUITE = ("data", "family", "each", "sets", "per_cluster")


def add_sample_command(subparsers: Any) -> None:
    """Adds the sub-parser; it sets `run`, called with the parsed arguments and the environment."""
    sample = subparsers.add_parser("sample", help="replies to prompts, paired by a verifiable reward")
    add = sample.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="the preference/1 file; an unfinished one is continued")
    source = sample.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompts", type=Path, metavar="FILE", help="JSON list of prompts with id, split and prompt")
    source.add_argument("--suite", choices=SUITES, help="the tasks of a suite, each scored by its own metric")
    add("--reward", choices=[reward.name for reward in REWARDS], help="what scores a reply (with --prompts)")
    add("--n", type=whole(2), help="candidates for every prompt (with --prompts; default 16)")
    add("--max-tokens", type=whole(1), help="of a reply (with --prompts; default 96)")
    add("--data", type=Path, metavar="DIR", help="the folder with xquad_en_train.jsonl and xquad_en_dev.jsonl")
    add("--family", help="only the tasks of this family, as grounded (with --suite)")
    add("--each", type=whole(1), help="candidates at every temperature (with --suite; default 4)")
    add("--sets", type=whole(1), help="the same where a candidate is a set of replies (with --suite; default 2)")
    add("--per-cluster", type=whole(1), metavar="N", help="at most N tasks of an article or class (with --suite)")
    add(
        "--pairing",
        choices=PAIRINGS,
        help="ranked: the k-th best against the k-th worst (default with --prompts); every: candidates of different "
        "temperatures that meet by lot (default with --suite)",
    )
    add(
        "--pairs",
        type=whole(1),
        help="meetings for every prompt; pairs are those that do not end equal (default 1; with --suite 64)",
    )
    add("--level", choices=("token", "sequence"), help="who draws a temperature (default token; a suite: sequence)")
    add("--split", default="train", choices=("train", "dev", "test", "all"), help="(all: only with --suite)")
    add("--limit", type=whole(1), help="at most this many prompts, evenly spread")
    add("--seed", type=whole(0), default=0)
    add_common_flags(sample)
    sample.set_defaults(run=_sample)


def _sample(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    check(arguments)
    counts = _of_suite(arguments, environment) if arguments.suite else _of_prompts(arguments, environment)
    print(", ".join(f"{key} {value}" for key, value in sorted(counts.items())), file=sys.stderr)


def _of_prompts(arguments: argparse.Namespace, environment: dict[str, str]) -> Mapping[str, int]:
    from playground.training import ahead
    from playground.training.commands import load_model
    from playground.training.labels import candidates
    from playground.training.labels.lanes import prompt_records
    from playground.training.labels.rewards import check_answers, reward_named

    split, limit = getattr(arguments, "split", None) or "train", arguments.limit
    judge, records = reward_named(arguments.reward), prompt_records(arguments.prompts, split, limit)
    check_answers(judge, records)  # refused before the model is loaded, like a place that cannot be written
    ahead.output(arguments.out)
    names = ("prompts", "reward", "out", "split", "limit", "seed", "n", "max_tokens", "level", "pairing", "pairs")
    values = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return candidates.run(load_model(settings_from(vars(arguments), environment)), **values)


def _of_suite(arguments: argparse.Namespace, environment: dict[str, str]) -> Mapping[str, int]:
    from playground.training import ahead
    from playground.training.commands import load_model
    from playground.training.labels import suite_candidates
    from playground.training.labels.tasks import tasks_of

    tasks = tasks_of(arguments.suite, arguments.data)  # refused before the model is loaded
    selection = (arguments.split, arguments.per_cluster, arguments.limit, arguments.family)
    chosen = suite_candidates.choose(tasks, *selection)
    ahead.output(arguments.out)
    names = ("out", "each", "sets", "pairing", "pairs", "seed")
    values = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return suite_candidates.run(load_model(settings_from(vars(arguments), environment)), chosen, **values)


def check(arguments: argparse.Namespace) -> None:
    """Raises PlaygroundError for flags that the other way of sampling has, before a model is loaded."""
    of_suite = arguments.suite is not None
    for name in ONLY_PROMPTS if of_suite else ONLY_SUITE:
        if getattr(arguments, name) is not None:
            flag, other = name.replace("_", "-"), "prompts" if of_suite else "suite"
            raise PlaygroundError(f"`--{flag}` goes with `--{other}`; leave it out.")
    if of_suite and arguments.level == "token":
        raise PlaygroundError("`--level` must be sequence with --suite, since its tasks are scored by temperature.")
    if not of_suite and arguments.reward is None:
        raise PlaygroundError(f"`--reward` must be one of {', '.join(r.name for r in REWARDS)} with --prompts.")
    if not of_suite and arguments.split == "all":
        raise PlaygroundError("`--split` must be train, dev or test with --prompts, got 'all'.")
