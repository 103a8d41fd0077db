"""The child of the Train tab (`python -m playground.training_job`): votes → counts → a head. training/jobs.py watches it.

    plan = {"task": "count" | "train", "settings", "model", "votes", "unblind", "files", "folder",
            "level", "loss", "name", "seed", "start"}

"start" is the head that the training goes on from, or "" for the uniform one.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints import NAME, RULE, SHIPPED, Checkpoint, get, load
from models.language_model import LanguageModel
from models.meta import Base
from models.threads import allowed
from playground.config import Settings, settings_from
from playground.errors import PlaygroundError
from playground.feedback.export import export
from playground.feedback.store import Store
from playground.records import Preference
from playground.training import features, train
from playground.training.commands import load_model
from playground.training.fit import Epoch, split_by_prompt
from playground.training.inventory import inventory
from playground.training.jobs import Emit, Event, serve
from playground.training.recipe import Recipe

VOTES = "votes.jsonl"
OFTEN = 0.3  # seconds between two words on the same phase
FACTS = ("name", "revision", "precision", "hidden_size", "vocab_size")
Load = Callable[[Settings], LanguageModel]


class LazyModel:
    """The facts of the model that the page has loaded; the model itself only where it is asked for anything else.

    All states of a second training are cached, so it needs no model. Raises PlaygroundError where another model is found
    under the same settings.
    """

    def __init__(self, facts: Mapping[str, Any], load: Callable[[], Any]) -> None:
        self.__dict__.update({name: facts[name] for name in FACTS})
        self._load, self._model = load, None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._model is None:
            model = self._load()
            if any(getattr(model, fact) != getattr(self, fact) for fact in FACTS):
                raise PlaygroundError("The model has changed since the page was started; start the playground again.")
            self._model = model
        return getattr(self._model, name)


def plan_for(settings: Settings, model: Any, **asked: Any) -> dict[str, Any]:
    """The plan of a job over these parts, as plain values; `asked` holds what a visitor may choose."""
    values = {name: value for name, value in vars(settings).items() if value is not None}
    told = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    told["precision"] = model.precision  # "auto" is settled
    told.pop("threads", None)  # they are the page's
    facts = {name: getattr(model, name) for name in FACTS}
    return {"settings": told, "model": facts, "folder": str(work_folder(settings)), **asked}


def work_folder(settings: Settings) -> Path:
    """Where the exported votes, the log and what a stopped training left lie."""
    return settings.data_folder / "training"


def work(plan: Mapping[str, Any], emit: Emit, stopped: Callable[[], bool], load: Load = load_model) -> Event | None:
    """Count, and train if the plan says so: the new head's name, or None where it was stopped."""
    settings = settings_from(plan["settings"], {})
    emit({"event": "phase", "phase": "Reading the votes"})
    try:
        return _work(plan, settings, emit, stopped, load)
    finally:
        forget(Path(plan["folder"]))


def forget(folder: Path) -> None:
    """Removes the exported votes, also what a killed job left of them: the database alone keeps what voters wrote."""
    for path in (folder / VOTES, folder / f"{VOTES}.manifest.json", *folder.glob(f".{VOTES}*.part")):
        path.unlink(missing_ok=True)


def _work(
    plan: Mapping[str, Any], settings: Settings, emit: Emit, stopped: Callable[[], bool], load: Load
) -> Event | None:
    files, excluded = _files(plan, settings)
    preferences, _ = train.read_preferences(files)
    emit({"event": "data", "excluded": excluded, **inventory(preferences)})
    if plan["task"] == "count":
        return {}
    if stopped():
        return None
    model = LazyModel(plan["model"], lambda: _loaded(settings, emit, load))
    return _train(plan, settings, model, files, preferences, emit, stopped)


def _loaded(settings: Settings, emit: Emit, load: Load) -> LanguageModel:
    emit({"event": "phase", "phase": "Loading the model, whose states are not all kept yet"})
    return load(settings)


def _files(plan: Mapping[str, Any], settings: Settings) -> tuple[list[Path], dict[str, int]]:
    """The preference files of a plan, the exported votes first, and how many votes were left out of those by reason."""
    files = [Path(file) for file in plan["files"]]
    if not plan["votes"]:
        return files, {}
    path = Path(plan["folder"]) / VOTES
    path.parent.mkdir(parents=True, exist_ok=True)
    store = Store.open(settings.sqlalchemy_url, settings.data_folder)
    try:
        manifest = export(store, path, "lpo", bool(plan["unblind"]))
    finally:
        store.close()
    return [path, *files], {reason: count for reason, count in manifest["excluded"].items() if count}


def free_name(settings: Settings, level: str, taken: Collection[str] = ()) -> str:
    """The first of votes-LEVEL-1, votes-LEVEL-2, … that no head has."""
    taken = {*taken, *(path.stem for path in settings.trained_heads.glob("*.safetensors"))}
    return next(name for n in range(1, 10**6) if (name := f"votes-{level}-{n}") not in taken)


def checked_name(settings: Settings, name: str, taken: Collection[str]) -> str:
    """`name`, where a head may have it. Raises PlaygroundError in one sentence."""
    if not NAME.fullmatch(name):
        raise PlaygroundError(f"Name must have {RULE}.")
    if name in taken or (settings.trained_heads / f"{name}.safetensors").exists():
        raise PlaygroundError(f"There is a head {name!r} already; its votes name it, so choose another name.")
    return name


class Spoken:
    """Says how far a phase is, at most every OFTEN seconds and at its end."""

    def __init__(self, emit: Emit, phase: str) -> None:
        self._emit, self._phase, self._due = emit, phase, 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._due or done == total:
            self._due = now + OFTEN
            self._emit({"event": "phase", "phase": self._phase, "done": done, "total": total})


def _train(
    plan: Mapping[str, Any],
    settings: Settings,
    model: Any,
    files: list[Path],
    preferences: Sequence[Preference],
    emit: Emit,
    stopped: Callable[[], bool],
) -> Event:
    """Trains; where it was stopped after an epoch, the best so far is the head. Once stopped, it is compared with nothing."""
    level, name = plan["level"], plan["name"]
    recipe = train.recipe_for(level, loss=plan["loss"], seed=plan["seed"])
    base = Base.of(model)
    parent = get([settings.trained_heads, SHIPPED], plan["start"], base) if plan["start"] else None
    kept = settings.cache_folder / "features"

    def progress(epoch: Epoch) -> None:
        losses = {"loss": epoch.train_loss, "held_out_loss": epoch.held_out_loss}
        told = {"epoch": epoch.epoch + 1, "of": epoch.epochs, "held_out_accuracy": epoch.held_out_accuracy}
        emit({"event": "epoch", **told, **losses})

    made = train.run(
        model, files, level, name, settings.trained_heads, kept, recipe, _command(plan, settings), parent,
        progress=progress, stop=stopped, reading=Spoken(emit, "Hidden states of vote"),
    )  # fmt: skip
    found = made.meta.metrics["training"]
    told = {key: found[key] for key in ("held_out_accuracy", "held_out_pairs", "train_pairs", "stopped")}
    shares: Event = {}
    try:
        if not stopped():
            emit({"event": "phase", "phase": "Comparing with the start"})
            shares = _predicted(model, preferences, level, recipe, made, parent, kept, stopped)
    except PlaygroundError:
        if not stopped():
            raise
    return {"name": name, "epoch": found["epoch"] + 1, "start": plan["start"] or "uniform", **told, **shares}


@torch.no_grad()
def _predicted(
    model: Any,
    preferences: Sequence[Preference],
    level: str,
    recipe: Recipe,
    made: Checkpoint,
    parent: Checkpoint | None,
    kept: Path,
    stopped: Callable[[], bool],
) -> Event:
    """The mean probability of every temperature over the states of the held-out votes, before and after.

    Raises PlaygroundError where it is stopped.
    """
    pairs, _ = features.pairs_of(model, preferences, level, kept, recipe.loss, made.meta.grid, stop=stopped)
    held = pairs.subset(split_by_prompt(pairs, recipe.held_out, recipe.seed)[1]).hidden

    def mean(head: nn.Module) -> list[float]:
        logprobs: Tensor = head(held)
        return [float(share) for share in logprobs.exp().mean(0)]

    grid = made.meta.grid
    before = mean(load(parent)) if parent else [1 / len(grid)] * len(grid)
    return {"grid": list(grid), "before": before, "after": mean(load(made))}


def _command(plan: Mapping[str, Any], settings: Settings) -> str:
    """The commands that do the same with the same votes and files: in the tab, only these choices differ from the defaults.

    A database that is not the data folder's is not named, as its address may hold a password: PLAYGROUND_DATABASE_URL gives it.
    """
    program = ["python", "-m", "playground"]
    data = [*([VOTES] if plan["votes"] else []), *plan["files"]]
    asked = ["--level", plan["level"], "--loss", plan["loss"], "--seed", str(plan["seed"]), "--out", plan["name"]]
    place = ["--folder", str(settings.trained_heads), *(["--parent", plan["start"]] if plan["start"] else [])]
    model = ["--precision", settings.precision, *_changed(settings, "model", "revision", "device")]
    trained = shlex.join([*program, "train", "--data", *data, *asked, *place, *model])
    if not plan["votes"]:
        return trained
    unblind = [*(["--include-unblind"] if plan["unblind"] else []), *_changed(settings, "data_folder")]
    return f"{shlex.join([*program, 'export', '--format', 'lpo', '--out', VOTES, *unblind])} && {trained}"


def _changed(settings: Settings, *names: str) -> list[str]:
    """The flags of those settings that differ from their defaults."""
    default = Settings()
    found = [(name, getattr(settings, name)) for name in names if getattr(settings, name) != getattr(default, name)]
    return [word for name, value in found for word in (f"--{name.replace('_', '-')}", str(value))]


if __name__ == "__main__":
    torch.set_num_threads(max(1, allowed() // 2))  # the page keeps the other half of the cores
    code = serve(work)
    sys.stderr.flush()
    os._exit(code)  # all is written; taking the interpreter down would keep the page waiting
