"""Traces and steps as the plain values that the page draws: wire tuples, inspection cards, figures. No torch, no Gradio.

A *counted* step is one that is drawn: every step but the end token. *Channels* are a policy's own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from playground.analysis.measures import repeated_ngram_share
from playground.decoding.trace import Alternative, TokenStep, Trace
from playground.ui.amounts import amount

if TYPE_CHECKING:
    from playground.decoding.policies.spec import Channel, Spec

LEAST = -100.0  # nats: less than this underflows the float32 that is recorded


def wire_token(step: TokenStep, channels: Sequence[str] = ()) -> list[str | float | None]:
    """[text, temperature, entropy, log-probability at T = 1, one value a channel], numbers as recorded.

    None stands for a log-probability of −inf and for a channel that this step does not have.
    """
    own = (_finite(step.channel.get(name, math.nan)) for name in channels)
    return [step.text, step.temperature, step.entropy, _finite(step.logprob), *own]


def inspection(step: TokenStep, trace: Trace, names: Mapping[int, str] = MappingProxyType({})) -> dict[str, Any]:
    """Everything the card of one token shows beyond its wire tuple; probabilities, not logarithms.

    `grid` pairs each temperature the policy could choose with its probability, or is None where there is no grid.
    `alternatives` are (text, probability at T = 1, probability as drawn, whether it is the drawn token), best first; the
    drawn token is added where it is not among them. The probability as drawn is None for a token that a mask or filter
    removed, and `cut` is what the removed ones among them had at T = 1. Tokens that stand for no text are called by their
    `names` (by id): `name` is the drawn token's, `names` are the alternatives', None for all others.
    """
    called = [names.get(other.id) for other in step.alternatives]
    rows: list[tuple[str, float, float | None, bool]] = [
        (other.text, other.prob, None if _removed(other, step) else other.prob_after, other.id == step.token_id)
        for other in step.alternatives
    ]
    if not any(drawn for *_, drawn in rows):
        rows.append((step.text, math.exp(step.logprob), math.exp(step.logprob_drawn), True))
        called.append(names.get(step.token_id))
    return {
        "position": step.position,
        "id": step.token_id,
        "name": names.get(step.token_id),
        "names": called,
        "prob": math.exp(step.logprob),
        "prob_drawn": math.exp(step.logprob_drawn),
        "entropy_after": step.entropy_after,
        "grid": _grid(step, trace),
        "alternatives": rows,
        "cut": math.fsum(prob for _, prob, after, _ in rows if after is None),
    }


def _removed(other: Alternative, step: TokenStep) -> bool:
    """Whether a mask or filter took this token: its probability as drawn is 0, and the temperature alone leaves more.

    The drawn token tells what the temperature alone leaves: ln q = ln q_drawn + (ln p − ln p_drawn) / T.
    """
    if other.prob_after > 0 or other.prob == 0 or step.temperature == 0:
        return False
    return step.logprob_drawn + (math.log(other.prob) - step.logprob) / step.temperature > LEAST


def _grid(step: TokenStep, trace: Trace) -> list[tuple[float, float, bool]] | None:
    if trace.grid is None or step.grid_probs is None:
        return None
    return [
        (temperature, prob, index == step.grid_index)
        for index, (temperature, prob) in enumerate(zip(trace.grid, step.grid_probs, strict=True))
    ]


def figures(
    steps: Sequence[TokenStep], seconds: float | None, stop: str, spec: Spec | None = None, precision: str = ""
) -> list[tuple[str, str]]:
    """(name, value) pairs under a lane, from its counted steps and its policy's channels.

    `seconds` is the lane's decoding time, `precision` that of the weights it was decoded with.
    """
    if not steps:
        return [("tokens", "0"), ("ended by", _STOPS[stop])]
    temperatures = [step.temperature for step in steps]
    low, high, mean = min(temperatures), max(temperatures), sum(temperatures) / len(steps)
    text = "".join(step.text for step in steps)
    return [
        ("tokens", str(len(steps))),
        ("mean temperature", f"{mean:.2f}"),
        ("range", " – ".join(dict.fromkeys((f"{low:.2f}", f"{high:.2f}")))),
        ("mean entropy", f"{sum(step.entropy for step in steps) / len(steps):.2f} nats"),
        *(_channel_figures(steps, spec) if spec else ()),
        ("repeated 4-grams", f"{100 * repeated_ngram_share(text, 4):.1f} %"),
        ("tokens per second", "–" if not seconds else f"{len(steps) / seconds:.1f}"),
        ("ended by", _STOPS[stop]),
        *([("precision", precise(precision))] if precision else ()),
    ]


def precise(precision: str) -> str:
    """A precision as the page names it: what a file's own name for it leaves open is added."""
    return {"gguf": "gguf, 4-bit blocks", "int8": "int8, 8 bits a weight"}.get(precision, precision)


def note(steps: Sequence[TokenStep], spec: Spec) -> str:
    """The policy's own sentence about a lane's counted steps; "" where it has none."""
    return spec.kind.note(spec.values, steps) if spec.kind.note and steps else ""


def _channel_figures(steps: Sequence[TokenStep], spec: Spec) -> list[tuple[str, str]]:
    pairs = []
    for channel in spec.channels:
        values = [step.channel[channel.name] for step in steps if channel.name in step.channel]
        if values and channel.figure != "":
            aim = spec.values.get(channel.target)
            value = _mean(values, channel) + (f", target {float(aim):g}" if aim is not None else "")
            pairs.append((channel.figure or _mean_of(channel), value))
    return pairs


def _mean_of(channel: Channel) -> str:
    """ "mean KL from the source", "mean effective sample size"; the title alone where it names kinds."""
    title = channel.title[:1].lower() + channel.title[1:] if channel.title[1:2].islower() else channel.title
    return title if channel.words else f"mean {title}"


def _mean(values: Sequence[float], channel: Channel) -> str:
    """The mean with its unit, bits also in nats; of two kinds the share of the second, of more the share of each."""
    mean = math.fsum(values) / len(values)
    if len(channel.words) == 2:
        return f"{100 * (mean - channel.low):.1f} %"
    if channel.words:
        shares = [sum(round(value - channel.low) == kind for value in values) for kind in range(len(channel.words))]
        named = zip(channel.words, shares, strict=True)
        return " · ".join(f"{word} {100 * share / len(values):.0f} %" for word, share in named if share)
    return amount(mean, channel)


_STOPS: Mapping[str, str] = {
    "end": "end token",
    "length": "length",
    "stop_string": "stop string",
    "cancelled": "Stop",
    "error": "error",
}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
