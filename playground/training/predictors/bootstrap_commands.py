"""The command `bootstrap` of `python -m playground`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from playground.config import add_common_flags, settings_from, whole
from playground.errors import PlaygroundError
from playground.training.predictors.bootstrap import KINDS, Sizes


def add_bootstrap_command(subparsers: Any) -> None:
    """Adds the sub-parser of `bootstrap`."""
    command = subparsers.add_parser("bootstrap", help="heads for any model: tempnet, auto-deco and adaptive heads")
    add = command.add_argument
    sizes = Sizes()
    add("--out", type=Path, metavar="DIR", help="folder of the heads (default: that of --checkpoints)")
    add("--only", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=f"some of {', '.join(KINDS)}")
    add("--texts", type=Path, metavar="FILE", help="reference texts instead of the model's own replies: see tempnet")
    add("--limit", type=whole(2), metavar="N", help=f"prompts of each kind (default {sizes.prompts})")
    add("--max-tokens", type=whole(4), metavar="N", help=f"tokens of a reply (default {sizes.max_tokens})")
    add("--candidates", type=whole(2), metavar="N", help=f"candidates of a prompt (default {sizes.candidates})")
    add("--pairs", type=whole(1), metavar="N", help=f"pairs of a prompt (default {sizes.pairs})")
    add("--seed", type=whole(0), metavar="N", help="of all that is random (default 0)")
    add_common_flags(command)
    command.set_defaults(run=_bootstrap)


def _bootstrap(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training import ahead
    from playground.training.commands import command_line, load_model
    from playground.training.predictors import bootstrap, corpus

    settings = settings_from(vars(arguments), environment)
    folder = arguments.out or settings.trained_heads
    if folder.exists() and not folder.is_dir():
        raise PlaygroundError(f"`out` must be a folder, got {folder}.")
    ahead.output_folder(folder)
    if arguments.texts is not None:
        corpus.read(arguments.texts)  # refused before the model is loaded
    names = {
        "limit": "prompts",
        "max_tokens": "max_tokens",
        "candidates": "candidates",
        "pairs": "pairs",
        "seed": "seed",
    }
    given = {size: getattr(arguments, flag) for flag, size in names.items() if getattr(arguments, flag) is not None}
    made = bootstrap.run(
        load_model(settings),
        folder,
        settings.cache_folder / "features",
        replace(Sizes(), **given),
        arguments.texts,
        command_line(),
        arguments.only,
    )
    for sentence in made.left_out:
        print(sentence, file=sys.stderr)
    for head in made.heads:
        print(f"{head.id}\t{head.folder / head.name}.safetensors")
