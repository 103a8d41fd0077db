"""The engine: one request as a coroutine of turns, and the driver that runs it alone.

The prompt is read once for all lanes; then every decoder goes one forward pass forward in every turn. Lanes whose
policies decide from a step alone share one lockstep batch (decoders/lockstep.py); a lane that needs rows, a model or a
prompt of its own has a decoder of its own. All advance together, so lanes stream side by side and their passes merge
where the model merges. Lanes that need another lane's figures (`of=N`) start when that lane has ended. Many requests in
one batch: playground/decoding/scheduler.py.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from playground.decoding.decoders.lockstep import Lockstep
from playground.decoding.forward import Decoding, Forward, answers
from playground.decoding.lane import Lane, rows_of
from playground.decoding.model import Model, ModelOutput
from playground.decoding.policies.base import Donor, Resources, Row
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import Event, Finished, LaneStep, Request, Started
from playground.errors import PlaygroundError

__all__ = ["Model", "Turn", "rows_of", "stream", "turns"]


@dataclass(frozen=True, eq=False)
class Turn:
    """What a request does at once: an event where there is one, and the passes it needs before it can go on.

    Whoever drives it sends the passes' outputs, an empty sequence where it asked for none.
    """

    event: Event | None
    forwards: tuple[Forward, ...] = ()


Turns = Generator[Turn, Sequence[ModelOutput], None]


def stream(model: Model, request: Request, rows: Sequence[Row], resources: Resources) -> Iterator[Event]:
    """Decode `request` once for every row.

    Yields Started, then a tuple of LaneSteps per forward pass (empty where nothing is certain yet), then Finished.
    Closing the generator stops the work within one pass. Raises PlaygroundError for a request or policy that cannot
    run, before anything is decoded where that can be known.
    """
    running = turns(Session(model, request, resources), rows)
    outputs: Sequence[ModelOutput] | None = None  # what starts a coroutine
    while True:
        try:
            turn = running.send(outputs)  # type: ignore[arg-type]
        except StopIteration:
            return
        if turn.event is not None:
            yield turn.event
        outputs = answers(turn.forwards)


def turns(session: Session, rows: Sequence[Row]) -> Turns:
    """Decode the session's request once for every row: the events of `stream`, with the passes left to the caller."""
    if not rows:
        raise PlaygroundError("At least one policy is needed.")
    lanes = session.lanes(rows)
    alone, followers = _passes(lanes)
    decoders = _decoders(session, alone)
    yield from _quietly(_prepared(decoders), None)
    yield Turn(Started(tuple(lane.header for lane in lanes)))
    yield from _quietly(session.read(), ())
    _start_clocks(alone)
    yield from _together([decoder.run() for decoder in decoders])
    if followers:
        donors = {lane.index + 1: _donor(session, lane) for lane in alone}
        session.resources = replace(session.resources, donors=donors)
        decoders = _decoders(session, followers)
        yield from _quietly(_prepared(decoders), None)
        _start_clocks(followers)
        yield from _together([decoder.run() for decoder in decoders])
    yield Turn(Finished(tuple(lane.finished(session.prefill_seconds) for lane in lanes)))


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


def _prepared(decoders: Sequence[Decoder]) -> Decoding[None]:
    """One decoder after the other, since they may all want to read the one prompt."""
    for decoder in decoders:
        yield from decoder.prepare()


def _quietly(decoding: Decoding[Any], between: Event | None) -> Turns:
    """The passes of a coroutine that yields no steps; `between` is the event between two of them."""
    forward, event = _advanced(decoding, None, []), None
    while forward is not None:
        (output,) = yield Turn(event, (forward,))
        forward, event = _advanced(decoding, output, []), between


def _together(decodings: Sequence[Decoding[Any]]) -> Turns:
    """The decoders side by side: in every turn each goes on to its next forward pass. The steps of a turn are one event,
    an empty one where a pass made nothing certain."""
    running: list[tuple[Decoding[Any], ModelOutput | None]] = [(decoding, None) for decoding in decodings]
    while running:
        steps: list[LaneStep] = []
        asked = [(decoding, _advanced(decoding, output, steps)) for decoding, output in running]
        waiting = [(decoding, forward) for decoding, forward in asked if forward is not None]
        forwards = tuple(forward for _, forward in waiting)
        outputs = yield Turn(tuple(steps) if steps or forwards else None, forwards)
        running = [(decoding, output) for (decoding, _), output in zip(waiting, outputs, strict=True)]


def _advanced(decoding: Decoding[Any], output: ModelOutput | None, steps: list[LaneStep]) -> Forward | None:
    """Goes on to the next forward pass, which is returned, None at the end; collects the steps on the way."""
    try:
        while True:
            found = decoding.send(output)
            if isinstance(found, Forward):
                return found
            steps += found
            output = None
    except StopIteration:
        return None


def _donor(session: Session, lane: Lane) -> Donor:
    prompt_ids, ids = list(lane.header.prompt_ids), [step.token_id for step in lane.steps]
    return Donor(
        temperatures=tuple(step.temperature for step in lane.steps),
        entropies_after=tuple(step.entropy_after for step in lane.steps),
        logits=lambda: session.model.score(prompt_ids, ids).double(),
    )
