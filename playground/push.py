"""`python -m playground push`: trained heads with their cards → a repository on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.checkpoints import SHIPPED, Checkpoint, read
from playground.config import add_common_flags, settings_from
from playground.errors import PlaygroundError


def add_command(commands: Any) -> None:
    command = commands.add_parser("push", help="upload trained heads with their cards to the Hugging Face Hub")
    add = command.add_argument
    add("--head", required=True, nargs="+", metavar="NAME", help="checkpoints, looked for in --checkpoints first")
    add("--to", required=True, metavar="ORG/NAME", help="the repository; it is made where there is none")
    add("--private", action="store_true", help="a repository that is made is private")
    add_common_flags(command)
    command.set_defaults(run=run)


def run(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Prints `org/name@commit`, which --checkpoints accepts as it stands."""
    from models import hub

    folder = settings_from(vars(flags), environment).checkpoints
    heads = [head_called(name, [path for path in (folder, SHIPPED) if path is not None]) for name in flags.head]
    print(hub.push(heads, flags.to, flags.private))


def head_called(name: str, folders: Sequence[Path]) -> Checkpoint:
    """The checkpoint `name` of the first folder that has it, for whatever model. Raises PlaygroundError where none has."""
    for folder in folders:
        if (folder / f"{name}.safetensors").is_file():
            return read(folder, name)
    there = sorted({path.stem for folder in folders for path in folder.glob("*.safetensors")})
    raise PlaygroundError(f"`head` must be one of {', '.join(there)}, got {name!r}.")
