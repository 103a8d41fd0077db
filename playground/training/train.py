"""`train`: preference files → a temperature head with its meta and card."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from models import strict_json
from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import Checkpoint, load, read, save
from models.errors import ModelError
from models.files import read_file
from models.meta import Base, Meta
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.ahead import place_of_head
from playground.training.evaluation import card
from playground.training.exclusions import grid_of
from playground.training.features import pairs_of
from playground.training.fit import Epoch, Fit, Pairs, Recipe, fit, split_by_prompt
from playground.training.resume import Resume

Votes = tuple[list[Preference], str]  # what `read_preferences` gives
ROOT = Path(__file__).resolve().parents[2]
MOST = 10**9  # bytes of a preference file, which is read whole
SEQUENCE = Recipe(
    beta=1.0, learning_rate=2e-3, pull=0.02, dropout=0.5, batch=512, epochs=200, patience=20, pool="family"
)
RECIPES = {"token": Recipe(), "sequence": SEQUENCE}


def recipe_for(level: str, **changes: Any) -> Recipe:
    """The default recipe of a level with some values changed; votes are not pooled where these cannot go with it."""
    if not Recipe.poolable(**{name: changes[name] for name in ("loss", "degree", "token_weights") if name in changes}):
        changes = {"pool": "none", **changes}
    return replace(RECIPES[level], **changes)


def run(
    model: Any,
    data: Sequence[Path],
    level: str,
    name: str,
    folder: Path,
    features_folder: Path,
    recipe: Recipe | None = None,
    command: str = "",
    parent: Checkpoint | None = None,
    progress: Callable[[Epoch], None] | None = None,
    stop: Callable[[], bool] | None = None,
    reading: Callable[[int, int], None] | None = None,
    votes: Votes | None = None,
) -> Checkpoint:
    """Fits a head to the votes in `data` and writes its three files to `folder`. Deterministic by the recipe's seed.

    parent     the head to go on from; its grid and its standardisation are kept
    progress   told the plain values of every epoch
    stop       asked for every vote that is read and every batch: within the first epoch nothing is written, later the best so far
    reading    told how many votes of how many have been read
    votes      what `read_preferences(data)` gave, where that has been called already

    The state of the fit is kept in `folder`/.NAME.training after every epoch; the same call goes on there after a kill
    and ends with the same weights. Raises PlaygroundError where the data cannot teach this loss.
    """
    recipe = recipe or RECIPES[level]
    place_of_head(folder, name)
    preferences, digest = votes or read_preferences(data)
    base = Base.of(model)
    start = None if parent is None else _start(parent, level, base)
    grid = grid_of(preferences, level, recipe.loss, None if parent is None else parent.meta.grid)
    spans = recipe.token_weights != "none"
    _check_name(folder, name, digest, recipe, parent)
    pairs, dropped = pairs_of(
        model, preferences, level, features_folder, recipe.loss, grid, reading=reading, stop=stop, spans=spans
    )
    _check_sides(pairs, level, recipe, grid)
    key = [digest, level, asdict(recipe), asdict(base), model.precision, grid, parent.id if parent else None]
    state = Resume(folder / f".{name}.training", hashlib.sha256(canonical_json(key).encode()).hexdigest())
    result = fit(pairs, len(grid), recipe, start=start, progress=progress, stop=stop, resume=state)
    meta = Meta(
        kind=f"adaptive-{level}",
        base=base,
        grid=grid,
        width=result.decoder.width,
        loss=recipe.loss,
        parent=parent.id if parent else None,
        data_sha256=digest,
        metrics={"training": {**_metrics(result, recipe, dropped), "labels": labels(preferences)}},
        temperature_histogram=histogram(result.decoder, pairs, recipe),
        command=command,
        commit=commit(),
    )
    checkpoint = save(folder, name, result.decoder, meta, card.text(name, meta))
    state.remove()
    return checkpoint


def read_preferences(paths: Sequence[Path]) -> Votes:
    """The votes of some preference/1 files, and the sha256 of the files' bytes one after the other."""
    digest = hashlib.sha256()
    preferences = []
    for path in paths:
        try:
            content = read_file(path, MOST)
        except OSError as error:
            raise PlaygroundError(
                f"Preferences must lie in files that can be read; {path} cannot be read ({error.strerror})."
            ) from error
        lines = content.rstrip(b"\n").split(b"\n") if content else []  # not splitlines: a reply may hold U+2028
        preferences += [_preference(path, number, line) for number, line in enumerate(lines, 1)]
        digest.update(content)
    return preferences, digest.hexdigest()


def _preference(path: Path, number: int, line: bytes) -> Preference:
    """The vote of a line. Raises PlaygroundError that names the file and the line."""
    try:
        return Preference.from_record(strict_json.loads(line.decode()))
    except (UnicodeDecodeError, json.JSONDecodeError):
        reason = "no JSON"
    except ValueError as error:
        reason = str(error).rstrip(".")
    raise PlaygroundError(
        f"Preferences must be preference/1, one JSON object a line; line {number} of {path} is not: {reason}."
    )


def labels(preferences: Sequence[Preference]) -> dict[str, dict[str, int]]:
    """How many preferences came from people, programs and heuristics, and of which families of prompts."""
    families = Counter(preference.family or "no family" for preference in preferences)
    return {
        "source": dict(sorted(Counter(p.source for p in preferences).items())),
        "family": dict(sorted(families.items())),
    }


def histogram(decoder: AdaptiveDecoder, pairs: Pairs, recipe: Recipe) -> tuple[float, ...]:
    """Share of each temperature under argmax over the states of the held-out pairs: a prompt counts once a pair."""
    held = pairs.subset(split_by_prompt(pairs, recipe.held_out, recipe.seed)[1])
    with torch.no_grad():
        chosen = decoder(held.hidden).argmax(-1)
    return tuple((torch.bincount(chosen, minlength=decoder.temperatures) / len(chosen)).tolist())


def commit() -> str:
    """The commit of this repository, "+" added where the code that makes a head differs from it; "unknown" outside a clone."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        code = ["models/adaptive_decoder.py", "playground/training", "playground/decoding"]
        differs = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code]).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if differs else "")


def _check_name(folder: Path, name: str, digest: str, recipe: Recipe, parent: Checkpoint | None) -> None:
    """Raises PlaygroundError for the name of another head; the same training may run again and writes the same weights."""
    if not (folder / f"{name}.safetensors").exists():
        return
    try:
        meta = read(folder, name).meta
        made = meta.data_sha256, Recipe.of(meta.metrics), meta.parent
    except ModelError:
        made = None
    if made != (digest, asdict(recipe), parent.id if parent else None):
        raise PlaygroundError(
            f"`out` must be a new name: {folder} holds another head {name!r}.",
            f"There is another head {name!r} already; choose another name.",
        )


def _start(parent: Checkpoint, level: str, base: Base) -> AdaptiveDecoder:
    """The parent's head. Raises PlaygroundError where it cannot be one."""
    if parent.meta.kind != f"adaptive-{level}":
        kinds = f"a head of kind adaptive-{level}, but {parent.name!r} is {parent.meta.kind}"
        raise PlaygroundError(f"`parent` must be {kinds}.", f"A training must start from {kinds}.")
    refusal = parent.refusal(base)
    if refusal is not None:
        raise PlaygroundError(refusal)
    head = load(parent)
    assert isinstance(head, AdaptiveDecoder)
    return head


def _check_sides(pairs: Pairs, level: str, recipe: Recipe, grid: tuple[float, ...]) -> None:
    """Raises PlaygroundError where every vote prefers the same temperature of whole replies: that is a constant."""
    if level != "sequence" or recipe.latent:
        return
    chosen = set(pairs.index[pairs.sign > 0].tolist())
    if len(chosen) == 1:
        heat = grid[chosen.pop()]
        found = f"temperature {heat:g} in all {len(pairs)} votes, which needs no head: use fixed:temperature={heat:g}"
        raise PlaygroundError(
            f"`data` prefers {found}, or add votes that prefer others.",
            f"The better replies have {found}, or add votes that prefer others.",
        )


def _metrics(result: Fit, recipe: Recipe, dropped: dict[str, int]) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "train_pairs": result.train_pairs,
        "held_out_pairs": result.held_out_pairs,
        "dropped": dropped,
        "epoch": result.epoch,
        "epochs": len(result.curve),
        "stopped": result.stopped,
        "held_out_loss": result.held_out_loss,
        "held_out_accuracy": result.held_out_accuracy,
        "calibration_error": result.calibration_error,
        "reliability": result.reliability,
        "logit_scale": result.logit_scale,
    }
