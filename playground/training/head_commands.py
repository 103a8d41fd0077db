"""The commands `auto-deco` and `difficulty`: predictors that learn without votes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoints import SHIPPED
from playground.config import add_common_flags, settings_from


def add_head_commands(subparsers: Any) -> None:
    """Adds the two sub-parsers; each sets `run`, called with the parsed arguments and the environment."""
    deco = subparsers.add_parser("auto-deco", help="heads for temperature and top-p from reference texts")
    add = deco.add_argument
    add("--texts", type=Path, required=True, metavar="FILE", help="JSON lines with prompt and reply")
    add("--out", required=True, metavar="NAME", help="name of the checkpoint")
    add("--folder", type=Path, default=SHIPPED, metavar="DIR", help="where the checkpoint is written")
    add("--tokens", type=int, help="at most about this many reply tokens are read")
    add("--drop-easy", type=float, default=0.0, help="share of greedily right tokens dropped from the loss (default 0)")
    add("--prior-weight", action="store_true", help="weight the loss by the model's own probability of the token")
    add("--seed", type=int, default=0)
    add_common_flags(deco)
    deco.set_defaults(run=_auto_deco)

    difficulty = subparsers.add_parser("difficulty", help="a probe for difficulty-router from prompts with answers")
    add = difficulty.add_argument
    add("--prompts", type=Path, required=True, metavar="FILE", help="JSON list with id, split, prompt and answers")
    add("--out", required=True, metavar="NAME", help="name of the checkpoint")
    add("--folder", type=Path, default=SHIPPED, metavar="DIR", help="where the checkpoint is written")
    add("--limit", type=int, help="at most this many prompts of each split")
    add("--seed", type=int, default=0)
    add_common_flags(difficulty)
    difficulty.set_defaults(run=_difficulty)


def _auto_deco(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import auto_deco
    from playground.training.commands import command_line, load_model

    settings = settings_from(vars(arguments), environment)
    changes = {name: getattr(arguments, name) for name in ("drop_easy", "prior_weight", "seed")}
    auto_deco.run(
        load_model(settings),
        arguments.texts,
        arguments.out,
        arguments.folder,
        settings.cache_folder / "features",
        replace(auto_deco.Recipe(), **changes),
        arguments.tokens,
        command_line(),
    )


def _difficulty(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import difficulty
    from playground.training.commands import command_line, load_model
    from playground.training.difficulty_labels import Recipe

    settings = settings_from(vars(arguments), environment)
    difficulty.run(
        load_model(settings),
        arguments.prompts,
        arguments.out,
        arguments.folder,
        settings.cache_folder / "difficulty",
        Recipe(seed=arguments.seed),
        arguments.limit,
        command_line(),
    )
