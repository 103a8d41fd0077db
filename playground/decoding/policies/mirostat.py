"""`mirostat-v1` and `mirostat-v2`: truncation steered so that the mean surprise per token meets a target
(Basu et al. 2020, arXiv 2007.14966).

Surprise is in bits; p is the model's softmax at T = 1, sorted; mu starts at 2·tau. At every token:

    v1   s = Σ t_i·b_i / Σ t_i²,  t_i = ln((i+1)/i),  b_i = ln(p_i / p_{i+1}),  i = 1 … 99     (Zipf's exponent)
         k = (ε·2^mu / (1 − V^−ε))^(1/s),  ε = s − 1;  ε → 0 gives (2^mu / ln V)^(1/s);  rounded, from 1 to V
         draw x from the k most probable tokens;  S = −log2 p(x), of the untruncated p as in the authors' code
    v2   draw x from the tokens with −log2 p ≤ mu, at least the best;  S = −log2 of the renormalised p(x)
    both mu ← mu − eta·(S − tau)

Departures
1. mu rises to log2 V at most, where nothing is truncated any more, V the tokens that the model has not ruled out. Without the cap it winds up while the text loops (S near 0)
   and then keeps truncation off for hundreds of tokens after the loop ends.
2. Further filters act after the truncation. v2 then takes S from what is left after them too: the distribution drawn
   from is the one whose surprise meets the target, and mu opens as far as a filter closes.

3. v2's eta is .3 unless given. With the paper's .1 mu needs some hundred tokens to rise from 2·tau to where it works.

Neither mean can exceed the entropy of the model's own distributions: a target above it is unreachable, and a note under
the reply says so. v1 feeds back the surprise of p, not of what it draws from: its mean cannot fall below the surprise of
the best token either, and the surprise of what is drawn from stays below the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.kernels import RULED_OUT
from playground.decoding.policies.base import Decision, Drawn, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.trace import TokenStep

LN2 = math.log(2)
RANKS = 100  # most probable tokens that Zipf's exponent is estimated from


class Mirostat(Policy):
    """What both versions share: mu [B] in bits, and what was drawn so far."""

    order = ("mirostat", "temperature")

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._tau = torch.tensor([float(row.spec.values["tau_bits"]) for row in rows], dtype=torch.float64)
        self._eta = torch.tensor([float(row.spec.values["eta"]) for row in rows], dtype=torch.float64)
        self._mu = 2 * self._tau
        self._cap = torch.zeros(len(rows), dtype=torch.float64)
        self._surprise = torch.zeros(len(rows), dtype=torch.float64)  # summed over the reply, as the entropy
        self._entropy = torch.zeros(len(rows), dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        self._mu = self._mu.clamp(max=math.log2(now.size))
        self._cap = torch.maximum(self._cap, torch.tensor([math.log2(n) for n in now.possible], dtype=torch.float64))
        self._entropy = self._entropy + now.entropy / LN2
        used = {"mu": self._mu, "reachable_bits": self._entropy / (state.position + 1)}
        return Decision(torch.ones_like(self._mu), self._keep(now), channel=used)

    def observe(self, drawn: Drawn, state: State) -> Mapping[str, Tensor]:
        surprise = 0.0 - self._observed(drawn) / LN2
        self._surprise = self._surprise + surprise
        highest = torch.maximum(self._cap, self._mu)  # a step that allows few tokens does not lower mu
        self._mu = torch.minimum(self._mu - self._eta * (surprise - self._tau), highest)
        return {"surprise_bits": surprise, "mean_surprise_bits": self._surprise / (state.position + 1)}

    def _keep(self, now: Distribution) -> Tensor:
        """The tokens that may be drawn at the present mu, as a mask [B, V]."""
        raise NotImplementedError

    def _observed(self, drawn: Drawn) -> Tensor:
        """The log-probability [B] in nats whose surprise is fed back."""
        raise NotImplementedError


class MirostatV1(Mirostat):
    def _keep(self, now: Distribution) -> Tensor:
        _, best = now.largest(RANKS)
        k = truncation(zipf_exponent(best.double()), self._mu, now.possible)
        return now.at_least(now.kth(k))  # ties with the k-th stay

    def _observed(self, drawn: Drawn) -> Tensor:
        return drawn.logprob


class MirostatV2(Mirostat):
    def _keep(self, now: Distribution) -> Tensor:
        return now.at_least(now.bound(-self._mu * LN2)).scatter_(-1, now.best[:, None], 1.0)

    def _observed(self, drawn: Drawn) -> Tensor:
        return drawn.logprob_drawn


def zipf_exponent(best: Tensor) -> Tensor:
    """Least-squares exponent [B] of Zipf's law through the largest log-probabilities [B, m], in falling order.

    Only their differences count, so that logits do as well.
    """
    ranks = torch.arange(1, best.shape[-1], dtype=torch.float64)
    t = torch.log1p(1 / ranks).expand(len(best), -1)
    possible = best[:, 1:] > best[:, :1] - RULED_OUT  # tokens that a model rules out carry no slope
    t = torch.where(possible, t, 0.0)
    b = torch.where(possible, best[:, :-1] - best[:, 1:], 0.0)
    return (t * b).sum(-1) / (t * t).sum(-1).clamp(min=torch.finfo(torch.float64).tiny)


def truncation(exponent: Tensor, mu: Tensor, vocabulary: Sequence[int]) -> Tensor:
    """The k [B] of the module's formula, a whole number from 1 to V [B], for Zipf's exponent [B] and mu [B] in bits."""
    log_v = torch.tensor([math.log(count) for count in vocabulary], dtype=torch.float64)
    epsilon = exponent - 1
    tiny = epsilon.abs() < 1e-9
    ratio = torch.where(tiny, 1 / log_v, epsilon / -torch.expm1(-torch.where(tiny, 1.0, epsilon) * log_v))
    log_k = (ratio.log() + mu * LN2) / exponent.clamp(min=1e-9)
    k = torch.minimum(log_k, log_v).exp().round().long().clamp(min=1)
    return torch.minimum(k, torch.tensor(vocabulary))


def unreachable(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """A sentence where the target lies above what the model's own distributions hold in this reply; "" where not."""
    target, last = float(values["tau_bits"]), steps[-1].channel
    reachable = last["reachable_bits"]
    if reachable >= target or last["mean_surprise_bits"] >= target:
        return ""
    return (
        f"The target of {target:g} bits ({target * LN2:.2f} nats) is unreachable here: the model's own mean surprise over "
        f"this reply, at T = 1 with nothing cut off, is {reachable:.2f} bits ({reachable * LN2:.2f} nats)."
    )


def _kind(version: int, eta: float, surprise: str, formula: str, build: type[Mirostat]) -> PolicyKind:
    return PolicyKind(
        name=f"mirostat-v{version}",
        title=f"Mirostat v{version}: a target for surprise",
        summary="Cuts off improbable tokens just so far that the surprise per token, in bits, averages the target.",
        formula=formula,
        source=f"Basu et al. 2020, arXiv 2007.14966, {'Algorithm 1' if version == 1 else 'its alternate algorithm'}",
        keys=(
            Key(
                "tau_bits",
                "float",
                3.0,
                "the target, in bits a token (3 bits are 2.08 nats); above the model's own mean surprise at T = 1 it is "
                "unreachable",
                0.0,
                20.0,
                low_open=True,
            ),
            Key(
                "eta",
                "float",
                eta,
                "how far mu moves for every bit off the target; faster meets it sooner (over n tokens the mean is off by "
                "mu's whole way / (eta · n))",
                0.0,
                10.0,
            ),
        ),
        build=build,
        departure="mu is capped at log2 V, since it winds up in loops"
        + (
            "; with further filters the surprise is of what is left after them; eta is .3 unless given, since with the "
            "paper's .1 the start alone costs a reply of 250 tokens 5 to 9 % of its target."
            if version == 2
            else "."
        ),
        channels=(
            Channel(
                "surprise_bits",
                "Surprise fed back",
                "bits",
                f"of the drawn token under {surprise}, as fed back",
                0.0,
                10.0,
                figure="mean surprise",
                target="tau_bits",
            ),
            Channel(
                "mean_surprise_bits", "Mean surprise so far", "bits", "to compare with the target", 0.0, 10.0, figure=""
            ),
            Channel("mu", "Mirostat’s mu", "bits", "the steering variable: less cuts off more", 0.0, 16.0, figure=""),
            Channel(
                "reachable_bits",
                "Reachable surprise",
                "bits",
                "mean entropy at T = 1 so far: no target above it can be met in this reply",
                0.0,
                10.0,
                figure="",
            ),
        ),
        note=unreachable,
        cuts=lambda values: True,
        shows="surprise_bits",
        group="Feedback and guidance",
    )


V1 = _kind(
    1,
    1.0,
    "the model's own distribution",
    "top-k, k = (ε·2^mu / (1 − V^−ε))^(1/s); mu ← mu − eta·(S − tau)",
    MirostatV1,
)
V2 = _kind(
    2,
    0.3,
    "the distribution it was drawn from",
    "keep −log2 p ≤ mu; mu ← mu − eta·(S − tau)",
    MirostatV2,
)
