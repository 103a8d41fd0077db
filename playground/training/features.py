"""Hidden states and likelihoods of finished replies: one teacher-forced pass a trace, cached on disk.

With the language model frozen, a state depends only on the model's revision and precision and the exact token ids, so these
name the cached file; a likelihood log P(y_t | τ_k) depends on the grid too. Equation 11 needs both, and one pass makes both.
Teacher-forced states equal the ones seen while decoding up to float32 rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from playground.decoding.trace import Trace, canonical_json
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.cache import cached
from playground.training.exclusions import nothing, unusable
from playground.training.gathered import Gathered, Read
from playground.training.labels.lanes import GRID
from playground.training.lpo import LATENT, token_likelihoods
from playground.training.pairs import Pairs

__all__ = ["FeatureModel", "cached_likelihoods", "cached_states", "pairs_of", "states", "unusable"]


class FeatureModel(Protocol):
    """What is asked of a language model here."""

    name: str
    revision: str
    precision: str

    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor: ...

    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]: ...


def states(model: FeatureModel, trace: Trace, level: str, folder: Path) -> Tensor:
    """States [T, H] (token level) or [1, H] (sequence level: the prompt's last token), float32.

    Raises PlaygroundError for a trace of another model or revision.
    """
    check_model(model, trace)
    # at sequence level the token that follows does not reach the state; the same one for every reply reads a prompt once
    ids = list(trace.token_ids if level == "token" else trace.prompt_ids[-1:])
    return cached_states(model, list(trace.prompt_ids), ids, folder)


def check_model(model: FeatureModel, trace: Trace) -> None:
    """Raises PlaygroundError for a trace of another model or revision."""
    if (trace.model, trace.revision) != (model.name, model.revision):
        differ = (
            f"replies of {trace.model!r} ({trace.revision}), but the loaded model is {model.name!r} ({model.revision})"
        )
        raise PlaygroundError(
            f"`data` holds {differ}; load the model that wrote them.",
            f"The votes are on {differ}; leave those out, or start the playground with the model that wrote them.",
        )


def cached_states(model: FeatureModel, prompt_ids: list[int], ids: list[int], folder: Path) -> Tensor:
    """The states [T, H] that chose the tokens `ids` after `prompt_ids`, float32 (on disk as `compact` makes them)."""
    key = _key(model, prompt_ids, ids)
    return cached(folder, key, lambda: {"hidden": compact(model.features(prompt_ids, ids))})["hidden"].float()


def compact(hidden: Tensor) -> Tensor:
    """States in float16, or in float32 where one of them is beyond its largest number, 65,504."""
    half = hidden.half()
    return half if torch.equal(half.isfinite(), hidden.isfinite()) else hidden.float()


def cached_likelihoods(
    model: FeatureModel, prompt_ids: list[int], ids: list[int], grid: Sequence[float], folder: Path
) -> tuple[Tensor, Tensor]:
    """States [T, H] and log P(y_t | τ_k) [T, K] over `grid`, float32; at most one pass makes what is missing of them."""
    key = _key(model, prompt_ids, ids)
    passed = functools.cache(lambda: model.teacher_forced(prompt_ids, ids))
    hidden = cached(folder, key, lambda: {"hidden": compact(passed()[0])})["hidden"].float()
    likelihood = cached(
        folder,
        f"{key}\nlikelihood {list(grid)}",
        lambda: {"likelihood": token_likelihoods(passed()[1], torch.tensor(ids), grid)},
    )["likelihood"]
    return hidden, likelihood


def pairs_of(
    model: FeatureModel,
    preferences: Sequence[Preference],
    level: str,
    folder: Path,
    loss: str = "separate",
    grid: tuple[float, ...] = GRID,
    reading: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    spans: bool = True,
) -> tuple[Pairs, dict[str, int]]:
    """The rows of all votes that `loss` can learn from, and counts of those it cannot, by reason.

    `spans` says whether a vote's spans weigh its tokens. `reading` is told how many votes of how many have been read.
    Raises PlaygroundError where no vote is usable, where a trace is another model's, and where `stop` says so.
    """
    gathered = Gathered(level, loss, grid, spans)
    read: Read = functools.partial(_read, model, level=level, loss=loss, grid=grid, folder=folder)
    if level == "sequence" and loss not in LATENT:
        read = _once_a_prompt(read)
    for number, preference in enumerate(tqdm(preferences, desc="features")):
        if stop is not None and stop():
            raise PlaygroundError("The training was stopped before its first epoch; nothing was written.")
        reason = unusable(preference, level, loss, grid)
        if reason:
            gathered.drop(reason)
        else:
            gathered.add(preference, read)
        if reading is not None:
            reading(number + 1, len(preferences))
    if not len(gathered):
        raise nothing(gathered.dropped, level, loss)
    return gathered.pairs(), gathered.dropped


def _read(
    model: FeatureModel, trace: Trace, level: str, loss: str, grid: Sequence[float], folder: Path
) -> tuple[Tensor, Tensor | None]:
    """What one trace gives: its states, and its tokens' likelihoods where the loss asks for them."""
    if loss not in LATENT:
        return states(model, trace, level, folder), None
    check_model(model, trace)
    hidden, likelihood = cached_likelihoods(model, list(trace.prompt_ids), list(trace.token_ids), grid, folder)
    return (hidden if level == "token" else hidden[:1]), likelihood


def _once_a_prompt(read: Read) -> Read:
    """`read` for a level at which all replies to a prompt have its state; the labels of a suite hold dozens a prompt."""
    known: dict[tuple[str, str, tuple[int, ...]], tuple[Tensor, Tensor | None]] = {}

    def found(trace: Trace) -> tuple[Tensor, Tensor | None]:
        key = trace.model, trace.revision, trace.prompt_ids
        if key not in known:
            known[key] = read(trace)
        return known[key]

    return found


def _key(model: FeatureModel, prompt_ids: list[int], ids: list[int]) -> str:
    return canonical_json([model.name, model.revision, model.precision, prompt_ids, ids])
