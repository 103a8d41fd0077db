"""What a decoder asks for: a forward pass. Whoever drives it runs the pass and sends the output back.

A decoder is a coroutine: it yields the steps that became certain, or a Forward, and is sent the ModelOutput of the
latter. So it neither knows nor cares whether it runs alone or beside many others, whose passes may be one and the same.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from playground.decoding.model import Model, ModelOutput
from playground.decoding.trace import LaneStep

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Forward:
    """Feed `tokens` [B, T] to a model behind what `cache` holds of its B rows; the cache grows by T positions."""

    model: Model
    tokens: Tensor
    cache: Any


Decoding = Generator[tuple[LaneStep, ...] | Forward, ModelOutput | None, T]
"""A decoder's coroutine, or a part of one that returns T: it is sent an output for a Forward and None for steps."""


def feed(model: Model, tokens: Tensor, cache: Any) -> Decoding[ModelOutput]:
    """One forward pass over tokens [B, T]: the output at the last of them."""
    output = yield Forward(model, tokens, cache)
    assert output is not None, "a Forward is answered with its output"
    return output


def read(model: Model, ids: Sequence[int]) -> Decoding[tuple[ModelOutput, Any]]:
    """Read a prompt, piece by piece: the output at its last token (B = 1) and the cache of one row."""
    cache, (first, *others) = model.begin(ids)
    output = yield from feed(model, first, cache)
    for piece in others:
        output = yield from feed(model, piece, cache)
    return output, cache


def answers(forwards: Sequence[Forward]) -> list[ModelOutput]:
    """The outputs of these passes in their order, in one pass a model where the model merges. Raises what a model raises."""
    outputs = []
    for outcome in outcomes(forwards):
        if isinstance(outcome, Exception):
            raise outcome
        outputs.append(outcome)
    return outputs


def outcomes(forwards: Sequence[Forward]) -> list[ModelOutput | Exception]:
    """As `answers`, with the exception in the place of a pass that failed; the others' outputs are what they would be."""
    groups: dict[int, list[int]] = {}
    for place, forward in enumerate(forwards):
        groups.setdefault(id(forward.model), []).append(place)
    found: dict[int, ModelOutput | Exception] = {}
    for places in groups.values():
        found |= zip(places, _outcomes([forwards[place] for place in places]), strict=True)
    return [found[place] for place in range(len(forwards))]


def _outcomes(forwards: Sequence[Forward]) -> list[ModelOutput | Exception]:
    """Passes of one model. A merged pass that fails has advanced no cache, so each is then asked for by itself."""
    model = forwards[0].model
    if len(forwards) > 1 and not model.merges:
        return [outcome for forward in forwards for outcome in _outcomes([forward])]
    try:
        return list(model.forward([(forward.tokens, forward.cache) for forward in forwards]))
    except Exception as error:  # of whatever kind: it belongs to the decoder that asked
        if len(forwards) == 1:
            return [error]
        return [outcome for forward in forwards for outcome in _outcomes([forward])]
