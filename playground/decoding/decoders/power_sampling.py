"""`power-sampling`: Metropolis–Hastings sampling of p(x)^α over whole replies, α = 1/T (Karan & Du 2025, arXiv 2510.14901).

The reply grows block by block. After each block come `moves` moves: a position m of the reply is chosen at random, all
from m on is drawn anew from the proposal q (softmax(h / T), or the model itself), and the new reply x′ replaces x with
probability

    min(1, exp(α·ln p(x′) + ln q(x) − α·ln p(x) − ln q(x′)) · |x| / |x′|)

ln p and ln q are of the part drawn anew; the rest cancels. The stationary distribution after the last block is p^α / Z.

1. |x| / |x′| is the ratio of the chances to choose m. The paper's replies have equal length, so it does not occur there;
   ours end where the model ends them.
2. Blocks of 32 tokens and 4 moves a block by default; the paper has 192 and 10.
3. Filters act on q; p is the model's own. The target is then p^α over the replies that the filters leave.

Every token may change until the last move, so nothing streams, and only the command line offers it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from playground.decoding.decoders.particles import annotate, draw, stamp, unseen
from playground.decoding.forward import Decoding, feed
from playground.decoding.lane import Lane
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.sampling import uniform
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import TokenStep, nine_digits


class PowerSampling(Decoder):
    def __init__(self, session: Session, lane: Lane) -> None:
        values = lane.row.spec.values
        self.session, self.lane = session, lane
        self.moves, self.block = int(values["moves"]), int(values["block"])
        self.temperature = nine_digits(float(values["temperature"]))
        self.drawn_at = 1.0 if values["proposal"] == "base" else self.temperature
        self.chance = lane.row.stream("temperature")
        stamp(lane)

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        return 1

    def run(self) -> Decoding[None]:
        lane, made, accepted = self.lane, 0, 0
        reply, rewritten = unseen(self.session, lane, 0), [0] * lane.length
        for block in range(-(-lane.length // self.block)):
            limit = min((block + 1) * self.block, lane.length)
            if reply.stop in (None, "length"):
                reply = yield from self._drawn_on(reply.steps, limit)
            for _ in range(self.moves):
                made += 1
                cut = int(self._uniform() * len(reply.steps))
                proposed = yield from self._drawn_on(reply.steps[:cut], limit)
                if self._uniform() < math.exp(min(0.0, self._log_ratio(reply.steps, proposed.steps, cut))):
                    accepted += 1
                    reply = proposed
                    rewritten[cut:limit] = [times + 1 for times in rewritten[cut:limit]]
        for position in range(len(reply.steps)):
            annotate(reply, position, "acceptance", accepted / made if made else 1.0)
            annotate(reply, position, "rewritten", rewritten[position])
        yield tuple(lane.emit(step) for step in reply.steps)

    def _drawn_on(self, steps: Sequence[TokenStep], limit: int) -> Decoding[Lane]:
        """A reply that begins with `steps` and is drawn on from the proposal until it ends or has `limit` tokens."""
        model, reply = self.session.model, unseen(self.session, self.lane, limit)
        output, cache = yield from self.session.begin()
        if steps:
            for step in steps:
                reply.emit(step)
            output = yield from feed(model, torch.tensor([[step.token_id for step in steps]]), cache)
        while True:
            drawn, (step,) = draw(self.session, self.lane, output.logits, self.drawn_at, len(reply.steps))
            reply.emit(step)
            if reply.stop:
                return reply
            output = yield from feed(model, drawn.tokens[:, None], cache)

    def _log_ratio(self, old: Sequence[TokenStep], new: Sequence[TokenStep], cut: int) -> float:
        """The logarithm of what is accepted with: the new part's weight over the old one's, and the chances to cut there."""

        def weight(steps: Sequence[TokenStep]) -> float:
            return sum(step.logprob / self.temperature - step.logprob_drawn for step in steps[cut:])

        return weight(new) - weight(old) + math.log(len(old) / len(new))

    def _uniform(self) -> float:
        return float(uniform(self.chance))


def note(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """How many moves were accepted."""
    return f"{steps[0].channel['acceptance']:.0%} of the moves were accepted." if steps and steps[0].channel else ""


KIND = PolicyKind(
    name="power-sampling",
    title="Power sampling",
    summary="Metropolis–Hastings over whole replies: redraw the reply from a random position on, keep it by its likelihood.",
    formula="p(x)^(1/T) / Z over replies x;  accept with min(1, exp(ln p′/T + ln q − ln p/T − ln q′) · |x|/|x′|)",
    source="Karan & Du 2025, arXiv 2510.14901, Algorithm 1",
    departure="replies end where the model ends them, so the chance to accept carries the ratio of their lengths; blocks of "
    "32 tokens and 4 moves a block instead of 192 and 10",
    keys=(
        Key("temperature", "float", 0.25, "T of the whole reply; the exponent is 1/T", 0.05, 5.0),
        Key("moves", "int", 4, "moves after each block", 0, 1000),
        Key("block", "int", 32, "tokens by which the reply grows between moves", 1, 4096),
        Key(
            "proposal",
            "choice",
            "tempered",
            "what is drawn anew from: every token at temperature T, or the model at temperature 1",
            choices=("tempered", "base"),
        ),
    ),
    decoder=PowerSampling,
    shows="acceptance",
    channels=(
        Channel("acceptance", "Accepted moves", "", "the share of all moves that were accepted", 0.0, 1.0),
        Channel(
            "rewritten", "rewritten", "times", "how many accepted moves drew this position anew", 0.0, 16.0, figure=""
        ),
    ),
    streams=False,
    note=note,
)
