"""The command `tempnet`: a network that predicts the temperature with a target entropy, from reference texts."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoints import SHIPPED
from playground.config import add_common_flags, settings_from


def add_tempnet_command(subparsers: Any) -> None:
    """Adds the sub-parser; it sets `run`, called with the parsed arguments and the environment."""
    tempnet = subparsers.add_parser("tempnet", help="a network that predicts the temperature with a target entropy")
    add = tempnet.add_argument
    add("--texts", type=Path, required=True, metavar="FILE", help="JSON lines with prompt and reply")
    add("--target-nats", type=float, help="the entropy every token shall have (default 2)")
    add("--out", required=True, metavar="NAME", help="name of the checkpoint")
    add("--folder", type=Path, default=SHIPPED, metavar="DIR", help="where the checkpoint is written")
    add("--tokens", type=int, help="at most about this many reply tokens are read")
    add("--epochs", type=int, help="at most this many passes over the texts (default 60)")
    add("--learning-rate", type=float)
    add("--seed", type=int, help="of the first weights, the dropout and the order (default 0)")
    add_common_flags(tempnet)
    tempnet.set_defaults(run=_tempnet)


def _tempnet(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from playground.training import tempnet
    from playground.training.commands import command_line, load_model

    settings = settings_from(vars(arguments), environment)
    names = ("target_nats", "epochs", "learning_rate", "seed")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    tempnet.run(
        load_model(settings),
        arguments.texts,
        arguments.out,
        arguments.folder,
        settings.cache_folder / "features",
        replace(tempnet.Recipe(), **given),
        arguments.tokens,
        command_line(),
    )
