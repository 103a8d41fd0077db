"""`reproduce`: the heads that ship, made again from nothing by the commands that made them, and compared with what ships.

predictors/recipes.py lists the commands of every head in order. Each runs as `python -m playground …`, in a
process of its own, with {data} and {out} filled in. Commands that were finished are not run again, and those that sample or
train go on by themselves where they were cut, so that a run may be killed and repeated at any time.

Equal weights to the last bit can only be expected on the same processor with the same number of threads; what is reported is
by how much weights differ, relative to the largest of their tensor, and every figure of the meta that differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from models import embedded
from models.checkpoints import SHIPPED, Checkpoint, read
from models.errors import ModelError
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.training.predictors.recipes import RECIPES, Recipe
from playground.training.recipe import Recipe as Preferences

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 0.01  # relative; figures nearer than this are called equal


@dataclass(frozen=True)
class Outcome:
    """A head beside the one that ships: the largest relative difference of a weight, and the figures that differ.

    `weights` is None where there is nothing to compare; `figures` are (name, ours, shipped).
    """

    name: str
    weights: float | None
    figures: tuple[tuple[str, Any, Any], ...]
    compared: int
    same_bits: bool
    why_not: str = ""


def run(
    data: Path,
    out: Path,
    only: Sequence[str] = (),
    quick: bool = False,
    cache: Path | None = None,
    recipes: Sequence[Recipe] = RECIPES,
    call: Callable[[list[str]], int] | None = None,
) -> list[Outcome]:
    """Makes the heads of `recipes` whose names are in `only` (all where it is empty) and compares them.

    Writes OUT/reproduce.json. Everything is made below `out`, with `quick` in OUT/quick; only the converted default model
    is taken from `cache`, where it is. `call` runs one command line and returns its exit status; a process of its own unless given.
    Raises PlaygroundError for an unknown name, for no folder of data and for a command that fails.
    """
    unknown = set(only) - {recipe.name for recipe in recipes}
    if unknown:
        names = ", ".join(recipe.name for recipe in recipes)
        raise PlaygroundError(f"`only` must be some of {names}, got {', '.join(sorted(unknown))}.")
    if not data.is_dir():
        raise PlaygroundError(f"`data` must be a folder with the public data sets that the README lists, got {data}.")
    chosen = [recipe for recipe in recipes if not only or recipe.name in only]
    data, out = data.resolve(), (out / "quick" if quick else out).resolve()
    _borrow_model(cache, out / "cache")
    for number, recipe in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {recipe.head}", file=sys.stderr, flush=True)
        for command in recipe.commands:
            if quick and command.full_only:
                continue
            _finish(command.arguments(data, out, quick), out / "done", call or _process)
    outcomes = [compared(recipe, out) for recipe in chosen]
    record = {"quick": quick, "heads": [{**vars(o), "verdict": verdict(o, quick)} for o in outcomes]}
    (out / "reproduce.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return outcomes


def _borrow_model(cache: Path | None, here: Path) -> None:
    """Lets `here` use the converted default model of `cache`; where it cannot, the model is fetched again."""
    here.mkdir(parents=True, exist_ok=True)
    if cache is not None:
        model = (cache / embedded.FOLDER).resolve()
        with contextlib.suppress(OSError):
            if model.is_dir() and not (here / embedded.FOLDER).exists():
                (here / embedded.FOLDER).symlink_to(model, target_is_directory=True)


def _finish(arguments: list[str], done: Path, call: Callable[[list[str]], int]) -> None:
    """Runs a command unless it was finished before."""
    mark = done / hashlib.sha256(canonical_json(arguments).encode()).hexdigest()[:16]
    line = f"python -m playground {shlex.join(arguments)}"
    if mark.is_file():
        print(f"done before: {line}", file=sys.stderr, flush=True)
        return
    print(line, file=sys.stderr, flush=True)
    start = time.monotonic()
    status = call(arguments)
    if status:
        raise PlaygroundError(f"`{line}` ended with status {status}; see above, and run `reproduce` again to go on.")
    done.mkdir(parents=True, exist_ok=True)
    mark.write_text(
        json.dumps({"command": line, "seconds": round(time.monotonic() - start, 1)}) + "\n", encoding="utf-8"
    )


def _process(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "playground", *arguments], cwd=ROOT).returncode


def compared(recipe: Recipe, out: Path, shipped: Path = SHIPPED, root: Path = ROOT) -> Outcome:
    """The head and the reports of a recipe below `out` beside those that ship."""
    name = recipe.head
    try:
        ours, theirs = read(out / "heads", name), read(shipped, name)
        pairs = [(_filled(ours.meta.metrics), _filled(theirs.meta.metrics))]
        pairs += [(json.loads((out / a).read_bytes()), json.loads((root / b).read_bytes())) for a, b in recipe.reports]
    except (ModelError, OSError, ValueError) as error:
        return Outcome(name, None, (), 0, False, str(error))
    mine, other = ({k: v for pair in pairs for k, v in _figures(pair[side])} for side in (0, 1))
    keys = sorted(mine.keys() | other.keys())
    differ = tuple((key, mine.get(key), other.get(key)) for key in keys if not _near(mine.get(key), other.get(key)))
    return Outcome(name, _weights(ours, theirs), differ, len(keys), ours.sha256 == theirs.sha256)


def _filled(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a preference head with what its recipe leaves to the defaults, so that an option added since is no difference."""
    training = metrics.get("training", {})
    if "loss" not in training.get("recipe", {}):
        return dict(metrics)
    return {**metrics, "training": {**training, "recipe": Preferences.of(metrics)}}


def verdict(outcome: Outcome, quick: bool = False) -> str:
    """The comparison in a sentence."""
    if outcome.why_not:
        return f"{outcome.name}: not compared, since {outcome.why_not}"
    if outcome.same_bits:
        return f"{outcome.name}: the same weights to the last bit; {_count(outcome)}"
    if outcome.weights is None:
        return f"{outcome.name}: tensors of other shapes than those that ship; {_count(outcome)}"
    sizes = " (made with --quick: other sizes, so this tells only that the commands run)" if quick else ""
    return f"{outcome.name}: weights differ by at most {outcome.weights:.2g} of their tensor's largest; {_count(outcome)}{sizes}"


def _count(outcome: Outcome) -> str:
    same = outcome.compared - len(outcome.figures)
    return f"{same} of {outcome.compared} figures within {TOLERANCE:.0%}"


def _weights(ours: Checkpoint, theirs: Checkpoint) -> float | None:
    """The largest difference of a weight, relative to its tensor's largest; None where the shapes differ."""
    mine, other = (load_file(head.folder / f"{head.name}.safetensors") for head in (ours, theirs))
    if {key: value.shape for key, value in mine.items()} != {key: value.shape for key, value in other.items()}:
        return None
    return max(float((mine[key] - other[key]).abs().max() / other[key].abs().max().clamp_min(1e-12)) for key in mine)


def _figures(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text or nothing in a meta's metrics with its dotted name; not commands, which name folders, nor commits."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("command", "commands", "commit"):
                yield from _figures(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _figures(inner, f"{name}[{index}]")
    else:
        yield name, value


def _near(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)
    return bool(a == b)
