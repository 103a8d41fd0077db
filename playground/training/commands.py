"""The commands of training: `calibrate`, and those of the modules beside this one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from models.checkpoints import SHIPPED
from models.language_model import LanguageModel
from models.loading import load_language_model
from playground.config import Settings, add_common_flags, settings_from, whole
from playground.training.evaluation.evaluate_commands import add_evaluate_commands
from playground.training.labels.sample_commands import add_sample_command
from playground.training.predictors.predictor_commands import add_predictor_commands
from playground.training.train_commands import add_train_command


def add_commands(subparsers: Any) -> None:
    """Adds the sub-parsers; each sets `run`, called with the parsed arguments and the environment."""
    add_sample_command(subparsers)
    add_train_command(subparsers)

    add_evaluate_commands(subparsers)

    calibrate = subparsers.add_parser("calibrate", help="the constant temperature that matches a head, for `matched`")
    add = calibrate.add_argument
    add("--head", required=True, nargs="+", metavar="NAME", help="checkpoints to match; their cards are written anew")
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where the checkpoints are (default: one's own, then those that ship)",
    )
    add("--prompts", type=Path, metavar="FILE", help="JSON list of prompts (default: the gallery, and held-out ones)")
    add("--limit", type=whole(1), default=24, help="at most this many prompts (default 24)")
    add("--max-tokens", type=whole(1), default=48)
    add("--seed", type=whole(0), default=1)
    add_common_flags(calibrate)
    calibrate.set_defaults(run=_calibrate)
    add_predictor_commands(subparsers)


def load_model(settings: Settings) -> LanguageModel:
    return load_language_model(
        settings.model,
        settings.revision,
        settings.precision,
        settings.device,
        settings.cache_folder,
        settings.threads,
    )


def heads_of(arguments: argparse.Namespace, settings: Settings) -> list[Path]:
    """Where a head is looked for by its name: in --folder, among one's own, among those that ship."""
    return [*([arguments.folder] if arguments.folder else []), settings.trained_heads, SHIPPED]


def command_line() -> str:
    """The command as it can be typed again."""
    return "python -m playground " + " ".join(sys.argv[1:])


def _calibrate(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import ahead
    from playground.training.evaluation import calibrate

    settings = settings_from(vars(arguments), environment)
    names = ("prompts", "limit", "max_tokens", "seed")
    values = {name: getattr(arguments, name) for name in names}
    folders = heads_of(arguments, settings)
    ahead.named_heads(folders, arguments.head)
    calibrate.prompts_of(arguments.prompts, arguments.limit)
    calibrate.run(load_model(settings), heads=arguments.head, folders=folders, command=command_line(), **values)
