"""`long-horizon`: an approximation of Long Horizon Temperature Scaling (Shih, Sadigh & Ermon, ICML 2023) on a frozen model.

Target, over whole replies x rather than token by token:

    p_T(x) = p(x)^(1/T) / Z

Token-level temperature differs from it by Π Z_t, the normalisers of the single steps: it does not see that a likely token
may lead where nothing is likely. Here N particles are drawn from q, and every `block` tokens each is weighed by what it
gained there and resampled:

    ln w = Σ ln p(x_t) / T − ln q(x_t),  ESS = 1 / Σ w²  (w normalised)

With q = p (`proposal=base`) that is ln w = (1/T − 1)·ln p; with q = softmax(h / T) (`tempered`) it is Σ ln Z_t. At the end
one particle is drawn by its weight. For N → ∞ the reply is distributed as p_T; with few particles it lies between q and p_T.

1. The paper trains the model on importance-weighted samples; here the model is frozen and the weighing is done anew for
   every reply.
2. Resampling is systematic and happens after every block, whatever the effective sample size.
3. A reply that has ended stays as it is: its end repeats itself with probability 1, so its log-weight grows by 0 and what is
   compared are always beginnings of equal length of that padded process. As every sequence-level likelihood does, p_T with
   T < 1 prefers short replies.
4. Filters act on q; p in the weights is the model's own. The target is then p_T over the replies that the filters leave,
   at T = 1 too.

What is streamed after a block is the prefix that all particles share; it can no longer change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.decoders.particles import Particles, annotate, shared_prefix, stamp
from playground.decoding.decoders.resampling import effective_sample_size, log_weight, one_of, systematic
from playground.decoding.forward import Decoding
from playground.decoding.lane import Lane
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.sampling import uniform
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import TokenStep, nine_digits

MOST_PARTICLES = 16


class LongHorizon(Decoder):
    def __init__(self, session: Session, lane: Lane) -> None:
        values = lane.row.spec.values
        self.session, self.lane = session, lane
        self.count, self.block = int(values["particles"]), int(values["block"])
        self.temperature = nine_digits(float(values["temperature"]))
        self.drawn_at = 1.0 if values["proposal"] == "base" else self.temperature
        stamp(lane)

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        return session.model.rows_for(int(values["particles"]))

    def run(self) -> Decoding[None]:
        lane, resampling = self.lane, self.lane.row.stream("temperature")
        particles = Particles(self.session, lane, self.count, self.drawn_at)
        yield from particles.begin()
        weights, since = torch.zeros(self.count, dtype=torch.float64), 0
        for position in range(lane.length):
            drawn = particles.draw()
            gained = log_weight(drawn.logprob, drawn.logprob_drawn, self.temperature)  # [N]
            particles.note("log_weight", gained)
            weights = weights + gained
            certain: list[TokenStep] = []
            if particles.ended or (position + 1) % self.block == 0:
                certain = self._settle(particles, weights, since, uniform(resampling))[len(lane.steps) :]
                weights, since = torch.zeros_like(weights), position + 1
            yield tuple(lane.emit(step) for step in certain)
            if lane.stop:
                return
            yield from particles.feed()

    def _settle(self, particles: Particles, weights: Tensor, since: int, u: Tensor) -> list[TokenStep]:
        """Weigh and resample, or choose the one that stays; returns all steps that are certain now."""
        size = effective_sample_size(weights)
        for reply in particles.replies:
            for position in range(since, len(reply.steps)):
                annotate(reply, position, "ess", size)
        if particles.ended:
            return particles.replies[one_of(weights, u)].steps
        particles.keep(systematic(weights, u))
        return shared_prefix(particles.replies)


def note(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """What the effective sample size says about the approximation."""
    sizes = [step.channel["ess"] for step in steps if "ess" in step.channel]
    if not sizes:
        return ""
    other = values["proposal"] == "base" and values["temperature"] != 1
    drawn = "every token is drawn at temperature 1"
    if values["particles"] == 1:
        return "One particle weighs nothing: the reply is drawn from the proposal as it is" + (
            f", and {drawn}." if other else "."
        )
    whole = (
        f" {drawn.capitalize()}; {values['temperature']:g} is that of the whole reply, by the weights." if other else ""
    )
    return (
        f"An approximation: its {values['particles']} particles were worth {sum(sizes) / len(sizes):.1f} on average and "
        f"{min(sizes):.1f} at least (effective sample size of a block).{whole}"
    )


KIND = PolicyKind(
    name="long-horizon",
    title="Long horizon",
    summary="An approximation of Long Horizon Temperature Scaling on a frozen model: temperature for the whole reply, by "
    "particles that are weighed and resampled block by block.",
    formula="p(x)^(1/T) / Z over replies x;  ln w = Σ ln p / T − ln q;  ESS = 1 / Σ w²",
    source="target: Shih, Sadigh & Ermon, ICML 2023, arXiv 2302.03686",
    departure="the paper trains the model on importance-weighted samples; here the model is frozen, and N particles are "
    "weighed and systematically resampled after every block, so that few particles give a reply between the proposal's "
    "and the target's; a reply that has ended keeps its weight, and the target at T < 1 prefers short replies",
    keys=(
        Key("temperature", "float", 0.7, "T of the whole reply; 1 leaves the model's distribution as it is", 0.05, 5.0),
        Key("particles", "int", 4, "replies drawn together, one row of every forward pass each", 1, MOST_PARTICLES),
        Key("block", "int", 8, "tokens after which particles are weighed and resampled", 1, 256),
        Key(
            "proposal",
            "choice",
            "base",
            "what particles are drawn from: the model at temperature 1, or every token at temperature T",
            choices=("base", "tempered"),
        ),
    ),
    decoder=LongHorizon,
    shows="ess",
    channels=(
        Channel(
            "ess",
            "Effective sample size",
            "particles",
            "how many equally weighted particles the block's weights are worth, 1/Σw²; near 1, one particle decided the block",
            1.0,
            8.0,
        ),
        Channel(
            "log_weight",
            "Log-weight",
            "nats",
            "what this token added to its particle's log-weight, ln p/T − ln q",
            -4.0,
            4.0,
            centre=0.0,
            figure="",
        ),
    ),
    note=note,
)
