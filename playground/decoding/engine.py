"""The engine: one prefill of the prompt for all lanes, then every decoder in turn, one forward pass at a time.

Lanes whose policies decide from a step alone share one lockstep batch (decoders/lockstep.py); a lane that needs rows, a
model or a prompt of its own has a decoder of its own. Both advance together, so that lanes stream side by side. Lanes
that need another lane's figures (`of=N`) start when that lane has ended. Closing the generator stops the work within
one forward pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from playground.decoding.decoders.lockstep import Lockstep
from playground.decoding.lane import Lane, rows_of
from playground.decoding.model import Model
from playground.decoding.policies.base import Donor, Resources, Row
from playground.decoding.request import checked_request
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import Event, Finished, LaneStep, Request, Started
from playground.errors import PlaygroundError

__all__ = ["Model", "rows_of", "stream"]


def stream(model: Model, request: Request, rows: Sequence[Row], resources: Resources) -> Iterator[Event]:
    """Decode `request` once for every row.

    Yields Started, then a tuple of LaneSteps per forward pass (empty where nothing is certain yet), then Finished.
    Raises PlaygroundError for a request or policy that cannot run, before anything is decoded where that can be known.
    """
    checked_request(request)
    if not rows:
        raise PlaygroundError("At least one policy is needed.")
    session = Session(model, request, resources)
    lanes = session.lanes(rows)
    alone, followers = _passes(lanes)
    decoders = _decoders(session, alone)
    yield Started(tuple(lane.header for lane in lanes))
    session.begin()
    _start_clocks(alone)
    yield from _together(decoders)
    if followers:
        session.resources = replace(resources, donors={lane.index + 1: _donor(session, lane) for lane in alone})
        decoders = _decoders(session, followers)
        _start_clocks(followers)
        yield from _together(decoders)
    yield Finished(tuple(lane.finished(session.prefill_seconds) for lane in lanes))


def _passes(lanes: Sequence[Lane]) -> tuple[list[Lane], list[Lane]]:
    """The lanes that decide by themselves, and those that follow one of them."""

    def follows(lane: Lane) -> int:
        return int(lane.row.spec.values.get("of", 0))

    for lane in lanes:
        wanted = follows(lane)
        if wanted and (wanted > len(lanes) or follows(lanes[wanted - 1])):
            free = ", ".join(str(other.index + 1) for other in lanes if not follows(other)) or "none here"
            raise PlaygroundError(f"`of` must name another lane that decides by itself ({free}), got {wanted}.")
    return [lane for lane in lanes if not follows(lane)], [lane for lane in lanes if follows(lane)]


def _decoders(session: Session, lanes: Sequence[Lane]) -> list[Decoder]:
    """One lockstep batch for the lanes that can share it, and the others' own decoders."""
    shared = [lane for lane in lanes if lane.row.spec.kind.decoder is None]
    decoders: list[Decoder] = [Lockstep(session, shared)] if shared else []
    for lane in lanes:
        if lane.row.spec.kind.decoder is not None:
            decoders.append(lane.row.spec.kind.decoder(session, lane))
    return decoders


def _start_clocks(lanes: Sequence[Lane]) -> None:
    """A lane's decoding time holds neither the prefill nor what it waited for another lane."""
    for lane in lanes:
        lane.began = time.perf_counter()


def _together(decoders: Sequence[Decoder]) -> Iterator[tuple[LaneStep, ...]]:
    """The decoders' steps, one forward pass of each at a time."""
    running = [decoder.run() for decoder in decoders]
    while running:
        steps: list[LaneStep] = []
        for decoding in list(running):
            passed = next(decoding, None)
            if passed is None:
                running.remove(decoding)
            else:
                steps += passed
        if running or steps:
            yield tuple(steps)


def _donor(session: Session, lane: Lane) -> Donor:
    prompt_ids, ids = list(lane.header.prompt_ids), [step.token_id for step in lane.steps]
    return Donor(
        temperatures=tuple(step.temperature for step in lane.steps),
        entropies_after=tuple(step.entropy_after for step in lane.steps),
        logits=lambda: session.model.score(prompt_ids, ids).double(),
    )
