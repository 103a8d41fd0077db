"""The command `bench`: lists and runs the benchmarks, each beside its yardstick in the same run."""

from __future__ import annotations

import argparse
import ast
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playground.config import add_common_flags, settings_from
from playground.errors import PlaygroundError

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def add_command(commands: Any) -> None:
    """Adds the sub-parser of `bench`."""
    command = commands.add_parser("bench", help="measure speed, memory and fidelity beside their yardsticks")
    add = command.add_argument
    add("names", nargs="*", metavar="NAME", help="the benchmarks to run (default: all of --list)")
    add("--list", action="store_true", help="print the benchmarks and end")
    add("--quick", action="store_true", help="sizes that end within about a minute each")
    add("--json", type=Path, metavar="FILE", help="also write the JSON lines to FILE")
    add_common_flags(command)
    command.set_defaults(run=run)


def run(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Runs the named benchmarks one after the other; each prints its tables and, last, one JSON line.

    Raises PlaygroundError for an unknown name, before anything is measured, for a yardstick that is missing, and at the
    end for what a benchmark found that must not be.
    """
    known = titles(FOLDER)
    unknown = [name for name in flags.names if name not in known]
    if unknown:
        raise PlaygroundError(f"There is no benchmark {unknown[0][:40]!r}; choose from {', '.join(known)}.")
    if flags.list:
        print("\n".join(f"{name:<12}{title}" for name, title in known.items()))
        return
    from benchmarks.measure.asked import Asked

    settings = settings_from(vars(flags), environment)
    out, failed = _opened(flags.json), []
    try:
        for place, name in enumerate(flags.names or known):
            result = importlib.import_module(f"benchmarks.{name}").run(Asked(settings, flags.quick))
            print(*[""] * bool(place), result.text(), "", result.line(), sep="\n", flush=True)
            if out is not None:
                print(result.line(), file=out, flush=True)
            failed += [result.failed] if result.failed else []
    finally:
        if out is not None:
            out.close()
    if failed:
        raise PlaygroundError(" ".join(failed))


def titles(folder: Path) -> dict[str, str]:
    """The name and title of every benchmark in `folder`, without importing any.

    Raises PlaygroundError where the folder is missing: the benchmarks are not installed with the app.
    """
    paths = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    if not paths:
        raise PlaygroundError(
            f"The benchmarks are not installed with the app and there is no folder {folder}; run them from the repository."
        )
    return {path.stem: _title(path) for path in paths}


def _title(path: Path) -> str:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TITLE":
            return str(ast.literal_eval(node.value))
    return ""


def _opened(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise PlaygroundError(f"{path} cannot be written ({error.strerror}); choose another --json.") from None
