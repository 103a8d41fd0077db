"""Hidden states of finished replies: one teacher-forced pass a trace, cached on disk.

With the language model frozen, a state depends only on the model's revision and the exact token ids, so these name the
cached file. Teacher-forced states equal the ones seen while decoding up to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from playground.decoding.trace import Trace, canonical_json
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.cache import cached
from playground.training.fit import Pairs


class FeatureModel(Protocol):
    """What is asked of a language model here."""

    name: str
    revision: str
    precision: str

    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor: ...


def states(model: FeatureModel, trace: Trace, level: str, folder: Path) -> Tensor:
    """States [T, H] (token level) or [1, H] (sequence level: the prompt's last token), float32.

    Raises PlaygroundError for a trace of another model or revision.
    """
    if (trace.model, trace.revision) != (model.name, model.revision):
        raise PlaygroundError(
            f"`data` holds replies of {trace.model!r} ({trace.revision}), but the loaded model is {model.name!r} "
            f"({model.revision}); load the model that wrote them."
        )
    ids = list(trace.token_ids) if level == "token" else list(trace.token_ids[:1])
    return cached_states(model, list(trace.prompt_ids), ids, folder)


def cached_states(model: FeatureModel, prompt_ids: list[int], ids: list[int], folder: Path) -> Tensor:
    """The states [T, H] that chose the tokens `ids` after `prompt_ids`, float32 (float16 on disk)."""
    key = canonical_json([model.name, model.revision, model.precision, prompt_ids, ids])
    return cached(folder, key, lambda: {"hidden": model.features(prompt_ids, ids).half()})["hidden"].float()


def pairs_of(
    model: FeatureModel, preferences: Sequence[Preference], level: str, folder: Path
) -> tuple[Pairs, dict[str, int]]:
    """The steps of all decided votes that eq. 10 can learn from, and counts of those it cannot, by reason."""
    columns: dict[str, list[Any]] = {"hidden": [], "index": [], "pair": [], "sign": []}
    prompts: list[str] = []
    dropped: dict[str, int] = {}
    for preference in tqdm(preferences, desc="features"):
        reason = unusable(preference, level)
        if reason:
            dropped[reason] = dropped.get(reason, 0) + 1
            continue
        for sign, traces in ((1.0, preference.chosen), (-1.0, preference.rejected)):
            for trace in traces or ():
                hidden = states(model, trace, level, folder)
                steps = trace.steps[: len(hidden)]
                columns["hidden"].append(hidden)
                columns["index"].append(torch.tensor([step.grid_index for step in steps]))
                columns["pair"].append(torch.full((len(steps),), len(prompts)))
                columns["sign"].append(torch.full((len(steps),), sign))
        prompts.append(preference.prompt)
    if not prompts:
        raise PlaygroundError(
            "`data` holds no decided vote between replies with temperatures from one grid; sample more."
        )
    joined = {name: torch.cat(values) for name, values in columns.items()}
    return Pairs(**joined, prompts=tuple(prompts)), dropped


def unusable(preference: Preference, level: str) -> str | None:
    """Why a vote teaches eq. 10 nothing, or None."""
    if preference.chosen is None or preference.rejected is None:
        return "undecided"
    traces = (*preference.chosen, *preference.rejected)
    if any(not trace.steps or trace.steps[0].grid_index is None for trace in traces):
        return "no temperature from a grid"
    if any(
        not trace.policy.startswith(f"adaptive-{level}:") or "select=sample" not in trace.policy for trace in traces
    ):
        return f"temperatures not sampled per {'token' if level == 'token' else 'reply'}"
    if level == "sequence" and len({trace.steps[0].grid_index for trace in traces}) == 1:
        return "equal temperature"
    return None
