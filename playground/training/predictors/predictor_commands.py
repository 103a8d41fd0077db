"""The commands `tempnet`, `auto-deco`, `tuned-lens` and `difficulty`: predictors that learn without votes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from playground.config import add_common_flags, number, settings_from, whole


def add_predictor_commands(subparsers: Any) -> None:
    """Adds the sub-parsers; each sets `run`, called with the parsed arguments and the environment."""
    add = _parser(subparsers, "tempnet", "a network that predicts the temperature with a target entropy", _tempnet)
    _texts(add)
    add("--target-nats", type=number(0), help="the entropy every token shall have (default 2)")
    add("--epochs", type=whole(1), help="at most this many passes over the texts (default 60)")
    add("--learning-rate", type=number(0))

    add = _parser(subparsers, "auto-deco", "heads for temperature and top-p from reference texts", _auto_deco)
    _texts(add)
    add("--drop-easy", type=number(0, 1), help="share of greedily right tokens dropped from the loss (default 0)")
    add(
        "--prior-weight",
        action="store_true",
        default=None,
        help="weight the loss by the model's probability of the token",
    )

    add = _parser(
        subparsers, "tuned-lens", "a small model for entropy-switch from the first layers of this one", _tuned_lens
    )
    _texts(add)
    add("--layers", type=whole(1), required=True, metavar="K", help="how many of the first layers the small model has")
    add("--epochs", type=whole(1), help="passes over the texts")

    add = _parser(subparsers, "difficulty", "a probe for difficulty-router from prompts with answers", _difficulty)
    add("--prompts", type=Path, required=True, metavar="FILE", help="JSON list with id, split, prompt and answers")
    add("--limit", type=whole(1), help="at most this many prompts of each split")


def _parser(subparsers: Any, name: str, help: str, run: Any) -> Any:
    """A command with the flags that all of these share; its `add_argument`."""
    command = subparsers.add_parser(name, help=help)
    command.add_argument("--out", required=True, metavar="NAME", help="name of the checkpoint")
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the checkpoint is written (default: one's own)"
    )
    command.add_argument("--seed", type=whole(0), help="of all that is random (default 0)")
    add_common_flags(command)
    command.set_defaults(run=run)
    return command.add_argument


def _texts(add: Any) -> None:
    add("--texts", type=Path, required=True, metavar="FILE", help="JSON lines with prompt and reply")
    add("--tokens", type=whole(1), help="at most about this many reply tokens are read")


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The flags of these names that were given."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def _common(arguments: argparse.Namespace, environment: Mapping[str, str], cache: str) -> dict[str, Any]:
    """What every training run is told: the model, where to write, where to keep what is costly, and the command."""
    from playground.training import ahead
    from playground.training.commands import command_line, load_model
    from playground.training.predictors import corpus

    settings = settings_from(vars(arguments), environment)
    folder = arguments.folder or settings.trained_heads
    ahead.place_of_head(folder, arguments.out)
    if "texts" in vars(arguments):
        corpus.read(arguments.texts)  # refused before the model is loaded
    return {
        "model": load_model(settings),
        "name": arguments.out,
        "folder": folder,
        "features_folder": settings.cache_folder / cache,
        "command": command_line(),
    }


def _tempnet(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import tempnet

    recipe = replace(tempnet.Recipe(), **_given(arguments, "target_nats", "epochs", "learning_rate", "seed"))
    common = _common(arguments, environment, "features")
    tempnet.run(texts=arguments.texts, tokens=arguments.tokens, recipe=recipe, **common)


def _auto_deco(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import auto_deco

    recipe = replace(auto_deco.Recipe(), **_given(arguments, "drop_easy", "prior_weight", "seed"))
    common = _common(arguments, environment, "features")
    auto_deco.run(texts=arguments.texts, tokens=arguments.tokens, recipe=recipe, **common)


def _tuned_lens(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import tuned_lens

    recipe = replace(tuned_lens.LensRecipe(), **_given(arguments, "epochs", "seed"))
    common = _common(arguments, environment, "features")
    tuned_lens.run(texts=arguments.texts, tokens=arguments.tokens, layers=arguments.layers, recipe=recipe, **common)


def _difficulty(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import difficulty
    from playground.training.predictors.difficulty_labels import Recipe

    recipe = replace(Recipe(), **_given(arguments, "seed"))
    difficulty.records_of(arguments.prompts, arguments.limit)
    common = _common(arguments, environment, "difficulty")
    difficulty.run(prompts=arguments.prompts, limit=arguments.limit, recipe=recipe, **common)
