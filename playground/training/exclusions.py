"""Which votes a loss can learn from, and why the others cannot, in a few words that are counted and shown.

Equations 9 and 10 learn from the temperature that was drawn, so both sides must have drawn theirs from one grid; at sequence level
a fixed temperature of the grid is such an arm too. A side of several replies (a set) is one candidate: its replies must
share one temperature and one prompt. Filters must be the same on both sides, else the vote is about the filter too.

Equation 11 learns from the text alone, so the text must have been drawn token by token from softmax(logits / τ), whatever
chose τ. Decoders that choose among tokens or replies in their own way are left out, and so is everything cut by a filter
(top-p, min-p, mirostat, …): a truncated text looks like one of a colder τ_k, and the head would learn the filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.policies.spec import Spec
from playground.decoding.trace import Trace
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.labels.lanes import GRID
from playground.training.lpo import LATENT

Grid = tuple[float, ...]
CALLED = {"token": "token", "sequence": "reply"}
IN_WORDS = {"undecided": "ties and both bad"}


def unusable(preference: Preference, level: str, loss: str = "separate", grid: Grid = GRID) -> str | None:
    """Why a vote teaches `loss` at `level` nothing, or None. `grid` is what a fixed temperature must lie on."""
    if preference.chosen is None or preference.rejected is None:
        return "undecided"
    traces = (*preference.chosen, *preference.rejected)
    if not traces or any(not trace.steps for trace in traces):
        return "empty reply"
    specs = _specs(traces)
    if specs is None:
        return "unknown policy"
    if loss in LATENT:
        return _not_latent(preference, traces, specs, level)
    return _not_drawn(preference, traces, specs, level, grid)


def count(
    preferences: Iterable[Preference], level: str, loss: str = "separate", grid: Grid = GRID
) -> tuple[int, dict[str, int]]:
    """How many votes teach, and how many do not, by reason. Needs no language model."""
    reasons = Counter(unusable(preference, level, loss, grid) for preference in preferences)
    usable = reasons.pop(None, 0)
    return usable, {reason: number for reason, number in sorted(reasons.items()) if reason is not None}


def grid_of(preferences: Sequence[Preference], level: str, loss: str = "separate", wanted: Grid | None = None) -> Grid:
    """The grid of the head that these votes train: `wanted`, else the one that the usable arms drew from, else GRID.

    Raises PlaygroundError where no vote is usable, or where the arms drew from several grids or not from `wanted`.
    """
    usable, reasons = count(preferences, level, loss, wanted or GRID)
    if not usable:
        raise nothing(reasons, level, loss)
    grids = set()
    if loss not in LATENT:
        used = (p for p in preferences if unusable(p, level, loss, wanted or GRID) is None)
        grids = {trace.grid for p in used for trace in (*p.a, *p.b) if trace.grid is not None}
    grids |= {wanted} if wanted else set()
    if len(grids) > 1:
        one = "replies over one grid of temperatures"
        raise PlaygroundError(
            f"`data` must hold {one}, got {len(grids)}.", f"The votes must be on {one}, and these are on {len(grids)}."
        )
    return grids.pop() if grids else GRID


def nothing(reasons: Mapping[str, int], level: str, loss: str) -> PlaygroundError:
    """The refusal of data without one usable vote."""
    counts = ", ".join(f"{reason}: {number}" for reason, number in reasons.items()) or "no vote at all"
    return PlaygroundError(
        f"`data` holds no decided vote that this loss learns from ({counts}); sample or collect more, or choose another "
        "--loss.",
        f"None of these votes can train this ({in_words(reasons) or 'there is none at all'}): {counting(level, loss)}.",
    )


def in_words(reasons: Mapping[str, int]) -> str:
    """Counts by reason, as a reader is told them."""
    return ", ".join(f"{IN_WORDS.get(reason, reason)} ({number})" for reason, number in reasons.items() if number)


def counting(level: str, loss: str) -> str:
    """Which votes a loss can learn from at a level, in a clause: `unusable` in the words of whoever chooses the lanes."""
    if loss in LATENT:
        return (
            "a vote counts where one reply is better and both lanes draw token by token from the whole distribution: "
            "any policy without a filter, except those that choose among tokens or replies in their own way"
        )
    drawn = f"adaptive-{level}:select=sample or random:per={CALLED[level]}"
    also = ", or fixed at temperatures of the grid that differ" if level == "sequence" else ""
    return f"a vote counts where one reply is better and both lanes are {drawn}{also}, with the same filters"


def place(trace: Trace, grid: Grid) -> int | None:
    """Where the temperature of a whole reply lies in the grid."""
    if trace.steps[0].grid_index is not None:
        return trace.steps[0].grid_index
    heat = trace.steps[0].temperature
    return grid.index(heat) if heat in grid else None


def _not_drawn(
    preference: Preference, traces: Sequence[Trace], specs: Sequence[Spec], level: str, grid: Grid
) -> str | None:
    if any(_place(trace, spec, level, grid) is None for trace, spec in zip(traces, specs, strict=True)):
        return "no temperature from a grid"
    if not all(_sampled(spec, level) for spec in specs):
        return f"temperatures not sampled per {CALLED[level]}"
    if len({tuple(spec.filters.items()) for spec in specs}) > 1:
        return "different filters"
    if level == "token":
        return None
    sides = [_settings(side or (), grid) for side in (preference.chosen, preference.rejected)]
    if any(len(side) > 1 for side in sides):
        return "a set of several temperatures or prompts"
    return "equal temperature" if len({setting[0] for side in sides for setting in side}) == 1 else None


def _not_latent(preference: Preference, traces: Sequence[Trace], specs: Sequence[Spec], level: str) -> str | None:
    for trace, spec in zip(traces, specs, strict=True):
        if spec.kind.decoder is not None:
            return f"not drawn token by token ({spec.name})"
        if trace.order != ("temperature",):
            return "cut by a filter"
    sides = [side or () for side in (preference.chosen, preference.rejected)]
    if level == "sequence" and any(len({trace.prompt_ids for trace in side}) > 1 for side in sides):
        return "a set of several prompts"
    same = [sorted((trace.prompt_ids, trace.token_ids) for trace in side) for side in sides]
    return "identical replies" if same[0] == same[1] else None


def _settings(side: Sequence[Trace], grid: Grid) -> set[tuple[int | None, tuple[int, ...]]]:
    return {(place(trace, grid), trace.prompt_ids) for trace in side}


def _place(trace: Trace, spec: Spec, level: str, grid: Grid) -> int | None:
    return place(trace, grid) if level == "sequence" and spec.name == "fixed" else trace.steps[0].grid_index


def _sampled(spec: Spec, level: str) -> bool:
    """Whether this arm's temperatures are a draw, or a label, that the head could have made at this level."""
    if spec.name == "fixed":
        return level == "sequence"
    if spec.name == "random":
        return spec.values["per"] == CALLED[level]
    return spec.name == f"adaptive-{level}" and spec.values["select"] == "sample"


def _specs(traces: Sequence[Trace]) -> list[Spec] | None:
    policies: Catalogue = catalogue({})
    try:
        known = {policy: policies.parse(policy) for policy in {trace.policy for trace in traces}}
    except PlaygroundError:
        return None
    return [known[trace.policy] for trace in traces]
