"""The command `tuned-lens`: a small model for entropy-switch out of the first layers of the loaded one."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoints import SHIPPED
from playground.config import add_common_flags, settings_from


def add_lens_command(subparsers: Any) -> None:
    """Adds the sub-parser; it sets `run`, called with the parsed arguments and the environment."""
    lens = subparsers.add_parser(
        "tuned-lens", help="a small model for entropy-switch from the first layers of this one"
    )
    add = lens.add_argument
    add("--texts", type=Path, required=True, metavar="FILE", help="JSON lines with prompt and reply")
    add("--layers", type=int, required=True, metavar="K", help="how many of the first layers the small model has")
    add("--out", required=True, metavar="NAME", help="name of the checkpoint")
    add("--folder", type=Path, default=SHIPPED, metavar="DIR", help="where the checkpoint is written")
    add("--tokens", type=int, help="at most about this many reply tokens are read")
    add("--epochs", type=int, help="passes over the texts")
    add("--seed", type=int, help="of the order of the tokens (default 0)")
    add_common_flags(lens)
    lens.set_defaults(run=_tuned_lens)


def _tuned_lens(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import tuned_lens
    from playground.training.commands import command_line, load_model

    settings = settings_from(vars(arguments), environment)
    given = {name: getattr(arguments, name) for name in ("epochs", "seed") if getattr(arguments, name) is not None}
    tuned_lens.run(
        load_model(settings),
        arguments.texts,
        arguments.layers,
        arguments.out,
        arguments.folder,
        settings.cache_folder / "features",
        replace(tuned_lens.LensRecipe(), **given),
        arguments.tokens,
        command_line(),
    )
