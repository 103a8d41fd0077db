"""The commands `scores` and `evaluate`: the score table of a suite, and what heads reach on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models.checkpoints import get
from models.meta import Base
from playground.config import add_common_flags, settings_from, whole
from playground.errors import PlaygroundError
from playground.training.evaluation.plan import PLANS
from playground.training.evaluation.repetition_commands import add_repetition_flags

SUITES = tuple(plan.suite for plan in PLANS)
ONLY_TABLES = ("labels", "scores", "seeds", "folds", "unfinished")
ONLY_REPETITION = ("policy", "split", "samples", "limit")
REPETITION = "repetition"


def add_evaluate_commands(subparsers: Any) -> None:
    """Adds the sub-parsers; each sets `run`, called with the parsed arguments and the environment."""
    scores = subparsers.add_parser("scores", help="the scores of a suite's tasks at every setting, for `evaluate`")
    add = scores.add_argument
    add("--suite", required=True, choices=SUITES)
    add("--data", type=Path, metavar="DIR", help="the folder with xquad_en_train.jsonl and xquad_en_dev.jsonl")
    add("--out", type=Path, required=True, metavar="FILE", help="the table; an unfinished one is continued")
    add_common_flags(scores)
    scores.set_defaults(run=_scores)

    evaluate = subparsers.add_parser("evaluate", help="heads on a suite, beside every fixed temperature")
    add = evaluate.add_argument
    add("--suite", required=True, choices=(*SUITES, REPETITION))
    add("--data", type=Path, metavar="DIR", help="the folder with xquad_en_train.jsonl and xquad_en_dev.jsonl")
    add("--labels", type=Path, nargs="+", metavar="FILE", help="preference/1 files that heads learn from")
    add("--out", type=Path, required=True, metavar="DIR", help="where SUITE.json and SUITE.html are written")
    add(
        "--scores",
        type=Path,
        metavar="FILE",
        help="the table of `scores` (default: in the folder --out, made if needed)",
    )
    add(
        "--unfinished",
        action="store_true",
        default=None,
        help="take the table as it is, with the tasks that it holds so far",
    )
    add("--seeds", type=whole(1), help="heads a fold (default 3)")
    add("--folds", type=whole(2), help="parts that clusters are held out in (default 8)")
    add("--head", nargs="+", default=[], metavar="NAME", help="checkpoints of this recipe, whose cards get the figures")
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where the checkpoints are (default: one's own, then those that ship)",
    )
    add_repetition_flags(add)
    add_common_flags(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _scores(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import ahead
    from playground.training.commands import load_model
    from playground.training.evaluation import scores
    from playground.training.evaluation.plan import plan_of
    from playground.training.labels.tasks import tasks_of

    tasks = tasks_of(arguments.suite, arguments.data)  # refused before the model is loaded
    ahead.output(arguments.out)
    model = load_model(settings_from(vars(arguments), environment))
    scores.run(model, tasks, plan_of(arguments.suite), arguments.out)


def _evaluate(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import ahead
    from playground.training.commands import command_line, heads_of, load_model
    from playground.training.evaluation import evaluate, repetition_commands
    from playground.training.labels.tasks import tasks_of
    from playground.training.train import read_preferences

    check(arguments)

    if arguments.suite == REPETITION:
        repetition_commands.run(arguments, environment)
        return
    if not arguments.labels:
        raise PlaygroundError(
            "`--labels` must name preference/1 files that heads learn from; make them with `sample --suite`."
        )
    settings = settings_from(vars(arguments), environment)
    folders = heads_of(arguments, settings)
    ahead.named_heads(folders, arguments.head)  # all refused before the model is loaded
    ahead.output_folder(arguments.out)
    if arguments.scores:
        ahead.output(arguments.scores)
    tasks_of(arguments.suite, arguments.data)
    votes = read_preferences(arguments.labels)
    model = load_model(settings)
    base = Base.of(model)
    for name in arguments.head:
        evaluate.check_head(get(folders, name, base))  # refused before anything is decoded
    result = evaluate.run(
        model,
        suite=arguments.suite,
        data=arguments.data,
        labels=arguments.labels,
        votes=votes,
        out=arguments.out,
        features=settings.cache_folder / "features",
        table=arguments.scores,
        command=command_line(),
        **{name: getattr(arguments, name) for name in ("seeds", "folds", "unfinished") if getattr(arguments, name)},
    )
    for name in arguments.head:  # read again: another suite may have written its figures meanwhile
        evaluate.record(get(folders, name, base), result)
    print(evaluate.in_words(result))


def check(arguments: argparse.Namespace) -> None:
    """Raises PlaygroundError for flags that this suite would not read, before a model is loaded."""
    for name in ONLY_TABLES if arguments.suite == REPETITION else ONLY_REPETITION:
        if getattr(arguments, name):
            others = "the other suites" if arguments.suite == REPETITION else f"--suite {REPETITION}"
            raise PlaygroundError(f"`--{name}` goes with {others}; leave it out.")
