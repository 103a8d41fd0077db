"""The lockstep loop: one batched step per token for all lanes whose policies decide from the step alone.

Shapes: R rows of a step (lanes, padding, the lanes without the source), B rows of one policy, V vocabulary, H hidden.

    1. every policy decides for its rows: a temperature, perhaps a mask or a grid choice
    2. temperature, then the filters; entropy before and after
    3. each lane draws one float64 uniform from its own stream and inverts the CDF
    4. each live lane emits its TokenStep; a lane ends at the end token, a stop string or the length
    5. feed the drawn tokens to the model and go on while a lane lives

A lane that has ended keeps its row, so the shape of a step never changes and no lane's figures depend on another's end.
The rows stand in the order of their policies, so that a policy's rows are a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.forward import Decoding, feed, read
from playground.decoding.lane import Lane
from playground.decoding.policies.base import Decision, Drawn, Policy, State, checked
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER, Uniforms
from playground.decoding.session import Decoder, Session
from playground.decoding.steps import refuse_nan, token_steps
from playground.errors import PlaygroundError

Channels = list[dict[str, float]]


class Lockstep(Decoder):
    """All lanes of one session that share its prompt and its steps."""

    def __init__(self, session: Session, lanes: Sequence[Lane]) -> None:
        self.session = session
        self.groups = _groups(lanes, session)
        self.lanes = [lane for group in self.groups for lane in group.lanes]  # in the order of the rows
        for group in self.groups:
            group.stamp()

    @torch.inference_mode()
    def run(self) -> Decoding[None]:
        session, lanes = self.session, self.lanes
        count, model = len(lanes), session.model
        filters = Filters([lane.row.spec.filters for lane in lanes])
        noise = Uniforms([lane.noise for lane in lanes])
        cutting = [row for row, lane in enumerate(lanes) if lane.row.spec.cuts]
        logits, hidden, free, cache = yield from self._begin()
        for position in range(session.length):
            before = Distribution(logits)
            refuse_nan(before.tops, model.name, position)
            decisions = [group.decide(before, hidden, free, position) for group in self.groups]
            temperature = torch.cat([decision.temperature for decision in decisions])
            after = filters(_masked(before.tempered(temperature), decisions))
            drawn = Drawn.by(noise.next(), before, after)
            channels: Channels = [{} for _ in lanes]
            for group, decision in zip(self.groups, decisions, strict=True):
                group.observe(decision, drawn, channels)
            steps = token_steps(model, position, drawn, temperature, before, after, decisions, channels, cutting)
            live = [(lane, step) for lane, step in zip(lanes, steps, strict=True) if lane.stop is None]
            yield tuple(sorted((lane.emit(step) for lane, step in live), key=lambda emitted: emitted.lane))
            if all(lane.stop for lane in lanes):
                return
            output = yield from feed(model, self._fed(drawn.tokens)[:, None], cache)
            logits, hidden = output.logits[:count], output.hidden[:count]
            free = output.logits[self._start :][:count] if self._paired else None

    @staticmethod
    def rows_of(session: Session, lanes: int) -> int:
        """Rows that a step of this many lanes has at most."""
        rows = session.model.rows_for(lanes)
        return rows if session.source_ids is None else max(rows, 2 * lanes)

    @cached_property
    def _paired(self) -> bool:
        """Whether a second row of every lane reads the same reply after the prompt without the source document.

        It does so where a policy compares the two, and, where the step has room, whenever there is a source: the second
        rows need an attention mask, a mask changes the rounding, and no lane's bits may depend on its neighbours.
        """
        if self.session.source_ids is None:
            return False
        model, count = self.session.model, len(self.lanes)
        spare = model.joins and model.rows_for(count) >= 2 * count
        return spare or any(group.policy.needs_source for group in self.groups)

    @cached_property
    def _start(self) -> int:
        """The first of the second rows: the second half of a padded step, whatever the number of lanes."""
        count = len(self.lanes)
        return max(self.session.model.rows_for(count) // 2, count)

    @cached_property
    def _rows(self) -> int:
        """All rows of a step."""
        count = len(self.lanes)
        rows = self.session.model.rows_for(count)
        return max(rows, self._start + count) if self._paired else rows

    def _begin(self) -> Decoding[tuple[Tensor, Tensor, Tensor | None, Any]]:
        """The first logits and states of the lanes, the logits without the source, and the cache of all rows."""
        session, count = self.session, len(self.lanes)
        output, cache = yield from session.begin()
        logits, hidden = output.logits.expand(count, -1), output.hidden.expand(count, -1)
        if not self._paired:
            return logits, hidden, None, session.model.expand(cache, self._rows)
        without, other = yield from read(session.model, session.free_ids())
        joined = session.model.join((cache, other), (self._start, self._rows - self._start))
        return logits, hidden, without.logits.expand(count, -1), joined

    def _fed(self, tokens: Tensor) -> Tensor:
        """One token a row: the lanes', padding, the same again for their second rows, padding."""
        if self._rows == len(tokens):
            return tokens
        fed = tokens[:1].repeat(self._rows)
        fed[: len(tokens)] = tokens
        if self._paired:
            fed[self._start : self._start + len(tokens)] = tokens
        return fed


class _Group:
    """One policy for all lanes of one kind and checkpoint, which stand in the rows from `start` on, and its state."""

    def __init__(self, lanes: Sequence[Lane], start: int, policy: Policy, state: State) -> None:
        self.lanes, self.start, self.stop = lanes, start, start + len(lanes)
        self.policy, self.state = policy, state
        self._watches = type(policy).observe is not Policy.observe

    def stamp(self) -> None:
        """Completes the headers of its lanes with what only the policy knows."""
        for lane in self.lanes:
            values = lane.row.spec.values
            used = tuple(name for name in FILTER_ORDER if values[name] != FILTER_OFF[name])
            lane.header = replace(
                lane.header,
                checkpoint=self.policy.checkpoint,
                grid=self.policy.grid,
                order=(*self.policy.order_of(lane.row), *used),
            )

    def decide(self, before: Distribution, hidden: Tensor, free: Tensor | None, position: int) -> Decision:
        """The policy's decision for its rows, its temperatures rounded to the nine digits that are recorded."""
        state, rows = self.state, slice(self.start, self.stop)
        state.position = position
        if free is not None and self.policy.needs_source:
            state.source_free = Distribution(free[rows])
        decision = self.policy.decide(before.rows(self.start, self.stop), hidden[rows], state)
        return checked(decision, state.rows, position)

    def observe(self, decision: Decision, drawn: Drawn, channels: Channels) -> None:
        """Tells the policy what was drawn and collects its channels."""
        seen = self.policy.observe(drawn.of(self.start, self.stop), self.state) if self._watches else {}
        for name, values in (*decision.channel.items(), *seen.items()):
            for place, value in enumerate(values.tolist(), self.start):
                channels[place][name] = value


def _masked(heated: Distribution, decisions: Sequence[Decision]) -> Distribution:
    """What the policies' masks leave; rows of a policy without one keep all."""
    if all(decision.keep is None for decision in decisions):
        return heated
    rows = [len(decision.temperature) for decision in decisions]
    masks = zip(rows, decisions, strict=True)
    return heated.keeping(
        torch.cat([heated.weights.new_ones(n, heated.size) if d.keep is None else d.keep for n, d in masks])
    )


def _groups(lanes: Sequence[Lane], session: Session) -> list[_Group]:
    places: dict[tuple[str, object], list[int]] = {}
    for place, lane in enumerate(lanes):
        places.setdefault((lane.row.spec.name, lane.row.spec.values.get("checkpoint")), []).append(place)
    groups: list[_Group] = []
    for members in places.values():
        rows = tuple(lanes[place].row for place in members)
        build = rows[0].spec.kind.build
        assert build is not None
        policy = build(rows, session.resources)
        if policy.needs_source and session.source_ids is None:
            raise PlaygroundError(
                f"{rows[0].spec.name!r} compares with and without a source document; give one with --source.",
                f"{rows[0].spec.name!r} compares with and without a source document; give one under “More”.",
            )
        start = groups[-1].stop if groups else 0
        groups.append(_Group([lanes[place] for place in members], start, policy, State(rows, session.length)))
    return groups
