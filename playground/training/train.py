"""`train`: preference files → a temperature head with its meta and card."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import Base, Checkpoint, Meta, save
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training import card
from playground.training.features import pairs_of, unusable
from playground.training.fit import Fit, Pairs, Recipe, fit, split_by_prompt

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {"token": Recipe(), "sequence": Recipe(beta=1.0, learning_rate=1e-3, pull=0.02, epochs=200, patience=20)}


def recipe_for(level: str, **changes: Any) -> Recipe:
    """The default recipe of a level with some values changed."""
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
) -> Checkpoint:
    """Fits a head to the votes in `data` and writes its three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or RECIPES[level]
    preferences, digest = read_preferences(data)
    grid = _grid(preferences, level)
    pairs, dropped = pairs_of(model, preferences, level, features_folder)
    result = fit(pairs, len(grid), recipe)
    meta = Meta(
        kind=f"adaptive-{level}",
        base=Base(model.name, model.revision, model.hidden_size, model.vocab_size),
        grid=grid,
        width=result.decoder.width,
        loss="separate",
        parent=None,
        data_sha256=digest,
        metrics={"training": _metrics(result, recipe, dropped)},
        temperature_histogram=histogram(result.decoder, pairs, recipe),
        command=command,
        commit=commit(),
    )
    return save(folder, name, result.decoder, meta, card.text(name, meta))


def read_preferences(paths: Sequence[Path]) -> tuple[list[Preference], str]:
    """The votes of some preference/1 files, and the sha256 of the files' bytes one after the other."""
    digest = hashlib.sha256()
    preferences = []
    for path in paths:
        try:
            content = path.read_bytes()
            preferences += [Preference.from_record(json.loads(line)) for line in content.decode().splitlines()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlaygroundError(
                f"`data` must be preference/1 files, one JSON object a line; {path} is not."
            ) from error
        digest.update(content)
    return preferences, digest.hexdigest()


def histogram(decoder: AdaptiveDecoder, pairs: Pairs, recipe: Recipe) -> tuple[float, ...]:
    """Share of each temperature under argmax over the states of the held-out prompts; `evaluate` replaces it."""
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


def _grid(preferences: Sequence[Preference], level: str) -> tuple[float, ...]:
    traces = [t for p in preferences if unusable(p, level) is None for t in (*p.a, *p.b)]
    grids = {trace.grid for trace in traces if trace.grid is not None}
    if len(grids) != 1:
        raise PlaygroundError(f"`data` must hold replies over one grid of temperatures, got {len(grids)}.")
    return grids.pop()


def _metrics(result: Fit, recipe: Recipe, dropped: dict[str, int]) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "train_pairs": result.train_pairs,
        "held_out_pairs": result.held_out_pairs,
        "dropped": dropped,
        "epoch": result.epoch,
        "held_out_loss": result.held_out_loss,
        "held_out_accuracy": result.held_out_accuracy,
        "calibration_error": result.calibration_error,
    }
