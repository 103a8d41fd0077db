"""The commands `texts` and `reproduce` of `python -m playground`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playground.config import settings_from


def add_reproduce_commands(subparsers: Any) -> None:
    """Adds the sub-parsers of `texts` and `reproduce`."""
    texts = subparsers.add_parser("texts", help="the reference texts of tempnet, auto-deco and tuned-lens")
    texts.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with the public data sets")
    texts.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines with prompt and reply")
    texts.set_defaults(run=_texts)

    command = subparsers.add_parser("reproduce", help="make the heads that ship again, and compare")
    add = command.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="a folder with the public data sets")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder for all that is made; an unfinished one is continued",
    )
    add("--only", nargs="+", default=(), metavar="NAME", help="some of the heads, such as tempnet")
    add("--quick", action="store_true", help="small sizes: tells whether the commands run, not what they give")
    add(
        "--cache-folder", metavar="DIR", help="the folder of the converted default model; nothing else is taken from it"
    )
    command.set_defaults(run=_reproduce)


def _texts(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import reference_texts

    print(f"sha256 {reference_texts.write(arguments.data, arguments.out)}")


def _reproduce(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from playground.training.predictors import reproduce

    cache = settings_from(vars(arguments), environment).cache_folder
    outcomes = reproduce.run(arguments.data, arguments.out, arguments.only, arguments.quick, cache)
    for outcome in outcomes:
        print(reproduce.verdict(outcome, arguments.quick))
        if not arguments.quick:
            for name, ours, shipped in outcome.figures:
                print(f"    {name}: {ours} here, {shipped} in the head that ships")
