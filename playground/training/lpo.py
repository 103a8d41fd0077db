"""Latent preference optimization (Dhuliawala et al. 2024, arXiv 2411.09661): losses by name, all over one margin a pair.

The language model is frozen. A pair has a chosen reply yc and a rejected reply yr; rows n are their steps.

    m = Σ_{n in c} w_n s_n − Σ_{n in r} w_n s_n + offset,        L = −log σ(β m)

    separate         s_n = log P(τ_n | h_n)                                    eq. 10, τ_n the temperature drawn
    joint            the same s_n and an offset                                eq. 9
    latent-token     s_n = log Σ_k P(τ_k | h_n) P(y_n | τ_k)                    eq. 11, per token
    latent-sequence  s   = log Σ_k P(τ_k | h) Π_n P(y_n | τ_k)                  eq. 11, exact for one τ a reply
    nll              L = −Σ_{n in c} w_n s_n, s_n of `separate`                 the baseline without a rejected reply

    reference  uniform  s_n − s_n of the uniform head, w_n = 1 (or the token's weight)
               length   s_n itself, the weights of each side divided by the side's number of tokens; the log K of the two
                        sides cancel in eq. 10, while eq. 11 is left without a reference; eq. 9's offset is a sum: refused

What eq. 9 reduces to. Its margin adds log P(yc)/P_ref(yc) − log P(yr)/P_ref(yr). With the model frozen these do not depend
on the head. Where the reference is the same model at the same temperatures they are 0 and eq. 9 *is* eq. 10. Where
the reference is the model at T = 1, as before there was a head, they are the constant

    offset = Σ_{t in c} [log p(y_t | τ_t) − log p(y_t | 1)] − the same over r       (means over the replies of a set)

and the gradient is eq. 10's with σ(−β m) at the shifted m: pairs that the drawn temperatures already explain weigh less.
`joint` takes this offset; the temperature part alone is trained.

When a head decides per reply, the two marginals of eq. 11 differ: per token every token may have another τ under the
same P(τ | h), per sequence one τ holds for all. For a reply of one token they are equal, and where a head decides per
token they are the same formula (h_t depends on y_<t, never on τ), so the exact marginal is the product over tokens.

τ_k = 0: P(y | 0) is 1 for the most probable token and 0 for others. The log-sum-exp stays finite while one τ_k > 0.

Numbered departures
1. The uniform reference log P_ref = −log K is kept for every token. Without it the loss has a length bias: at the
   uniform start the margin would be β (T_r − T_c) log K, large for replies of unequal length; with it the margin is 0.
2. λ · mean KL(uniform ‖ P(· | h)) keeps the head near uniform where the votes say nothing. The paper has none, and
   separable data would drive the logits to infinity.
3. Label smoothing for votes that are wrong with probability ε (cDPO, Mitchell 2023):
   (1 − ε) · −log σ(β m) + ε · −log σ(−β m), lowest at β m = log((1 − ε)/ε) instead of infinity.
4. A vote's strength as a weight of its loss, or as a margin δ: −log σ(β m − δ).
5. Preference degree (after SPO, Li et al. 2024, arXiv 2409.17791: a classification loss for the degree of preference is
   added to the alignment loss). SPO makes its own degrees from the model's outputs; here the voter said the degree
   ("slight", "much"), and the class is predicted from the size of the margin: P(much) = σ(a β m − b), a > 0 and b learned.
6. Token weights multiply s_n (SparsePO, Christopoulou et al. 2024, arXiv 2410.05102, masks tokens so).

Shapes: N rows, K temperatures, P pairs, S sides (two a pair), T tokens, V vocabulary. Nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

LATENT = ("latent-token", "latent-sequence")
LOSSES = ("separate", *LATENT, "joint", "nll")
REFERENCES = ("uniform", "length")
STRENGTHS = ("none", "weight", "margin")
UNSTATED, SLIGHT, MUCH = range(3)
STRENGTH_WEIGHTS = (1.0, 0.5, 2.0)  # of the loss of a vote, by strength
STRENGTH_MARGINS = (0.0, 0.0, 1.0)  # δ, by strength
UNDERFLOWS = -80.0  # e^−80 counts as nothing, and exp() is ten times slower where it underflows
CHUNK = 64  # tokens whose logits are weighed at once


def step_scores(logprobs: Tensor, index: Tensor) -> Tensor:
    """log P(τ_t | h_t) + log K for the drawn temperatures `index` [N], from log-probabilities [N, K]; [N], nats.

    Under length normalisation the log K of both sides cancel.
    """
    return logprobs.gather(-1, index[:, None])[:, 0] + math.log(logprobs.shape[-1])


def latent_scores(logprobs: Tensor, likelihood: Tensor, reference: str = "uniform") -> Tensor:
    """Equation 11: log Σ_k P(τ_k | h) P(y | τ_k) [N] from log P(τ | h) [N, K] and log P(y | τ) [N, K].

    With the uniform reference, minus the same for the uniform head; with `length` there is none. Finite while one P(y | τ_k) > 0.
    """
    marginal = torch.logsumexp(logprobs + likelihood, -1)
    if reference == "length":
        return marginal
    return marginal - (torch.logsumexp(likelihood, -1) - math.log(logprobs.shape[-1]))


def sequence_likelihoods(likelihood: Tensor, side: Tensor, sides: int, weight: Tensor | None = None) -> Tensor:
    """log Π_n P(y_n | τ_k) [S, K] of each side's rows, from [N, K] and side numbers [N]; a row of weight 0 counts as absent."""
    if weight is not None:
        likelihood = torch.where(weight[:, None] > 0, likelihood * weight[:, None], 0.0)
    return likelihood.new_zeros(sides, likelihood.shape[1]).index_add(0, side, likelihood)


@torch.no_grad()
def token_likelihoods(logits: Tensor, ids: Tensor, grid: Sequence[float]) -> Tensor:
    """log P(y_t | τ_k) [T, K] of the tokens `ids` [T] under logits [T, V] divided by each temperature of `grid`.

    τ = 0 is one-hot: 0 for the first most probable token, −inf for others. No filter; float32.
    """
    parts = []
    for rows, wanted in zip(logits.float().split(CHUNK), ids.split(CHUNK), strict=True):
        lowered = rows - rows.amax(-1, keepdim=True)  # [t, V]
        gap = lowered.gather(-1, wanted[:, None])[:, 0]  # [t]
        greedy = torch.where(rows.argmax(-1) == wanted, 0.0, -math.inf)
        columns = [greedy if tau == 0 else gap / tau - _log_total(lowered / tau) for tau in grid]
        parts.append(torch.stack(columns, -1))
    return torch.cat(parts)


def margins(scores: Tensor, pair: Tensor, sign: Tensor, pairs: int) -> Tensor:
    """Chosen minus rejected, summed over rows: [P] from scores [N], pair numbers [N] and signs [N] (+1 chosen, −1 rejected)."""
    return scores.new_zeros(pairs).index_add(0, pair, scores * sign)


def length_weights(weight: Tensor, tokens: Tensor, side: Tensor, sides: int) -> Tensor:
    """Weights [N] that make each side's sum a mean over its tokens; `tokens` [N] is how many a row stands for."""
    total = weight.new_zeros(sides).index_add(0, side, weight * tokens)
    return weight / total.clamp_min(torch.finfo(weight.dtype).tiny)[side]


def separate_loss(margin: Tensor, beta: float) -> Tensor:
    """Equation 10 averaged over pairs, from margins [P]; −log σ(βm) = softplus(−βm)."""
    return preference_losses(margin, beta).mean()


def preference_losses(margin: Tensor, beta: float, smoothing: float = 0.0, delta: Tensor | float = 0.0) -> Tensor:
    """(1 − ε) · −log σ(β m − δ) + ε · −log σ(−(β m − δ)) for margins [P]; [P], nats."""
    logit = beta * margin - delta
    return (1 - smoothing) * softplus(-logit) + smoothing * softplus(logit)


def by_strength(values: tuple[float, ...], strengths: Tensor) -> Tensor:
    """The value of each vote's strength, [P] from the strengths [P]."""
    return torch.tensor(values, dtype=torch.float64)[strengths]


def degree_losses(margin: Tensor, beta: float, slope: Tensor, threshold: Tensor, strength: Tensor) -> Tensor:
    """Cross-entropy [P] of "much" against "slight" under P(much) = σ(slope · β m − threshold); 0 where unstated."""
    logit = slope * beta * margin - threshold
    loss = binary_cross_entropy_with_logits(logit, (strength == MUCH).to(logit.dtype), reduction="none")
    return torch.where(strength == UNSTATED, 0.0, loss)


def row_pull(logprobs: Tensor) -> Tensor:
    """KL(uniform ‖ P) [N] in nats, from [N, K]; 0 for the uniform head."""
    return -logprobs.mean(-1) - math.log(logprobs.shape[-1])


def pull_to_uniform(logprobs: Tensor) -> Tensor:
    """mean KL(uniform ‖ P) over steps [N, K] in nats."""
    return row_pull(logprobs).mean()


def _log_total(exponents: Tensor) -> Tensor:
    """log Σ exp [t] of exponents [t, V] whose largest is 0."""
    return exponents.clamp_(min=UNDERFLOWS).exp_().sum(-1).log()
