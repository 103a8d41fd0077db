"""Several replies of one lane, drawn in one batch: the particles of `long-horizon`, the candidates of `best-of-n`.

Shapes: N particles, R rows of a step (particles, then padding), V vocabulary.

A particle is a lane of its own that nobody sees: it knows its tokens, its text and whether it has ended. One that has
ended keeps its row and goes on drawing from the stream, and nothing comes of it; so no particle's figures depend on
another's end.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.forward import Decoding, feed
from playground.decoding.lane import Lane
from playground.decoding.policies.base import Drawn
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER, uniform
from playground.decoding.session import Session
from playground.decoding.steps import refuse_nan, token_steps
from playground.decoding.trace import TokenStep, float32_digits


def stamp(lane: Lane) -> None:
    """Completes the header of a lane that draws from softmax(h / T) and its filters."""
    values = lane.row.spec.values
    used = tuple(name for name in FILTER_ORDER if values[name] != FILTER_OFF[name])
    lane.header = replace(lane.header, order=("temperature", *used))


def unseen(session: Session, lane: Lane, length: int) -> Lane:
    """An empty reply of `lane` that is not shown, of at most `length` tokens."""
    return replace(lane, pieces=session.pieces(), steps=[], length=length)


def draw(
    session: Session, lane: Lane, logits: Tensor, temperature: float, position: int
) -> tuple[Drawn, list[TokenStep]]:
    """One token for every row of logits [N, V] from the lane's stream, at one temperature and with the lane's filters."""
    count, model = len(logits), session.model
    heat = torch.full((count,), temperature, dtype=torch.float64)
    before = Distribution(logits)
    refuse_nan(before.tops, model.name, position)
    after = Filters([lane.row.spec.filters] * count)(before.tempered(heat))
    drawn = Drawn.by(uniform(lane.noise, count), before, after)
    cutting = range(count) if lane.row.spec.cuts else ()
    return drawn, token_steps(model, position, drawn, heat, before, after, cutting=cutting)


class Particles:
    """N replies in one batch.

    replies   what each has drawn so far, in the order of the rows
    moved     [N] which of them the last draw went to: those that had not ended
    """

    def __init__(self, session: Session, lane: Lane, count: int, temperature: float) -> None:
        self.session, self.lane, self.temperature = session, lane, temperature
        self.replies = [unseen(session, lane, lane.length) for _ in range(count)]
        self.moved = torch.ones(count, dtype=torch.bool)
        self._rows = session.model.rows_for(count)
        self._tokens = torch.zeros(count, dtype=torch.long)

    def begin(self) -> Decoding[None]:
        """Reads the prompt; comes before all else."""
        output, cache = yield from self.session.begin()
        self._logits = output.logits.expand(len(self.replies), -1)  # [N, V]
        self._cache = self.session.model.expand(cache, self._rows)

    @property
    def ended(self) -> bool:
        return all(reply.stop for reply in self.replies)

    def draw(self) -> Drawn:
        """One token for every reply that has not ended; log-probabilities of the others are 0, since ending is certain."""
        position = max(len(reply.steps) for reply in self.replies)
        drawn, steps = draw(self.session, self.lane, self._logits, self.temperature, position)
        self.moved = torch.tensor([reply.stop is None for reply in self.replies])
        for reply, step in zip(self.replies, steps, strict=True):
            if reply.stop is None:
                reply.emit(step)
        self._tokens = drawn.tokens
        certain = ~self.moved
        return Drawn(
            drawn.tokens, drawn.logprob.masked_fill(certain, 0.0), drawn.logprob_drawn.masked_fill(certain, 0.0)
        )

    def feed(self) -> Decoding[None]:
        """One forward pass: the drawn tokens, padding behind them."""
        fed = self._tokens[:1].repeat(self._rows)  # [R]
        fed[: len(self._tokens)] = self._tokens
        output = yield from feed(self.session.model, fed[:, None], self._cache)
        self._logits = output.logits[: len(self._tokens)]

    def keep(self, ancestors: Sequence[int]) -> None:
        """Go on with these replies in this order, repeats allowed; between `draw` and `feed`."""
        if list(ancestors) == list(range(len(self.replies))):
            return
        padding = list(ancestors[:1]) * (self._rows - len(ancestors))
        self._cache = self.session.model.select(self._cache, [*ancestors, *padding])
        self._tokens = self._tokens[list(ancestors)]
        self.replies = [_copied(self.replies[ancestor]) for ancestor in ancestors]

    def note(self, name: str, values: Tensor) -> None:
        """Add a number [N] to the channel of the step just drawn, where there is one."""
        for reply, value, moved in zip(self.replies, values.tolist(), self.moved.tolist(), strict=True):
            if moved:
                annotate(reply, len(reply.steps) - 1, name, value)


def annotate(reply: Lane, position: int, name: str, value: float) -> None:
    """Add a number to the channel of one step of a reply that is not shown."""
    step = reply.steps[position]
    reply.steps[position] = replace(step, channel={**step.channel, name: float32_digits(value)})


def shared_prefix(replies: Sequence[Lane]) -> list[TokenStep]:
    """The longest beginning that all of these replies have in common, token by token."""
    length = 0
    for together in zip(*(reply.steps for reply in replies), strict=False):
        if len({step.token_id for step in together}) > 1:
            break
        length += 1
    return replies[0].steps[:length]


def _copied(reply: Lane) -> Lane:
    return replace(reply, steps=list(reply.steps), pieces=copy.copy(reply.pieces))
