"""`best-of-n`: draw n replies at one temperature, keep the one the model itself finds most likely.

    by=sum    argmax Σ ln p(x_t)        the likelihood of the reply, its end token included
    by=mean   argmax Σ ln p(x_t) / |x|  the same per token: the inverse of the perplexity

p is the model at T = 1, whatever the replies are drawn from (`temperature` and the filters). `sum` is the default since it
is what `long-horizon` weighs by: with one block and T → 0 its weights choose this very reply, so at equal n the two cost
the same rows and differ in nothing but the weighing. It prefers short replies; `mean` does not.

Log-probabilities are at most 0, so a reply that goes on cannot end above its sum so far (or, by mean, above that sum
over the greatest length): candidates that can no longer win are dropped, and what is streamed is the prefix that all
candidates that still can win share.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from playground.decoding.decoders.particles import Particles, shared_prefix, stamp
from playground.decoding.forward import Decoding
from playground.decoding.lane import Lane
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import nine_digits

MOST_CANDIDATES = 16


class BestOfN(Decoder):
    def __init__(self, session: Session, lane: Lane) -> None:
        values = lane.row.spec.values
        self.session, self.lane = session, lane
        self.count, self.per_token = int(values["n"]), values["by"] == "mean"
        self.temperature = nine_digits(float(values["temperature"]))
        stamp(lane)

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        return session.model.rows_for(int(values["n"]))

    def run(self) -> Decoding[None]:
        lane = self.lane
        candidates = Particles(self.session, lane, self.count, self.temperature)
        yield from candidates.begin()
        likelihoods = torch.zeros(self.count, dtype=torch.float64)  # [N] nats so far
        for _ in range(lane.length):
            likelihoods = likelihoods + candidates.draw().logprob
            candidates.note("agreement", _agreement(candidates.replies))
            possible = [candidates.replies[place] for place in self._possible(candidates.replies, likelihoods)]
            yield tuple(lane.emit(step) for step in shared_prefix(possible)[len(lane.steps) :])
            if lane.stop:
                return
            yield from candidates.feed()

    def _possible(self, replies: list[Lane], likelihoods: Tensor) -> list[int]:
        """The places of the candidates that can still win: the best that has ended, and those that may yet pass it."""
        lengths = [len(reply.steps) if reply.stop else self.lane.length for reply in replies]
        reach = [float(s) / (n if self.per_token else 1) for s, n in zip(likelihoods, lengths, strict=True)]
        ended = [place for place, reply in enumerate(replies) if reply.stop]
        if not ended:
            return list(range(len(replies)))
        best = max(ended, key=lambda place: reach[place])
        return [best, *(p for p, reply in enumerate(replies) if not reply.stop and reach[p] > reach[best])]


def _agreement(replies: list[Lane]) -> Tensor:
    """[N] the share of all candidates that begin as this one does."""
    ids = [tuple(step.token_id for step in reply.steps) for reply in replies]
    alike = [sum(other[: len(mine)] == mine for other in ids) / len(ids) for mine in ids]
    return torch.tensor(alike, dtype=torch.float64)


KIND = PolicyKind(
    name="best-of-n",
    title="Best of n by likelihood",
    summary="Of n replies the one the model itself finds most likely: what long-horizon's forward passes buy without its "
    "weighing.",
    formula="argmax over n replies of Σ ln p(x_t), or of its mean per token",
    source="the control at equal compute for long-horizon: best-of-n sampling with the model's likelihood as the score; ours",
    keys=(
        Key("n", "int", 4, "replies drawn together, one row of every forward pass each", 1, MOST_CANDIDATES),
        Key("temperature", "float", 1.0, "divides the logits the replies are drawn from; 0 is greedy", 0.0, 5.0),
        Key(
            "by",
            "choice",
            "sum",
            "what the model's log-probabilities are compared by: their sum over the reply, which prefers short ones, or "
            "their mean per token",
            choices=("sum", "mean"),
        ),
    ),
    decoder=BestOfN,
    shows="agreement",
    channels=(
        Channel(
            "agreement",
            "Agreement",
            "of all replies",
            "the share of the n replies that begin with the same tokens up to here",
            0.0,
            1.0,
        ),
    ),
)
