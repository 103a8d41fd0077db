"""Aliases: filters that are published as methods of their own, each short for `fixed:…` with that filter.

`min-p:p=0.1` parses to the canonical form of `fixed:min_p=0.1`, so that a policy has one stored spelling whatever it was
called. An alias's range leaves out the value that switches its filter off. The other filters and the temperature may be set
too; the filter itself is computed in decoding/sampling.py.
"""

from __future__ import annotations

from playground.decoding.policies.fixed import KIND as FIXED
from playground.decoding.policies.spec import Key, PolicyKind

KINDS = (
    PolicyKind(
        name="min-p",
        title="Min-p",
        summary="Keeps tokens with at least this share of the best one's probability; cuts deep where the model is sure.",
        formula="keep p ≥ p_base · max p",
        source="Nguyen et al. 2024, arXiv 2407.01082",
        keys=(Key("p", "float", 0.1, "the share of the best token's probability", 0.0, 1.0, low_open=True),),
        stands_for=(FIXED, {"p": "min_p"}),
    ),
    PolicyKind(
        name="top-n-sigma",
        title="Top-nσ",
        summary="Keeps logits within n standard deviations of the largest; the same tokens at every temperature.",
        formula="keep h ≥ max h − n · σ(h)",
        source="Tang et al. 2024, arXiv 2411.07641",
        keys=(Key("n", "float", 1.0, "how many standard deviations of the logits", 0.0, 100.0, low_open=True),),
        stands_for=(FIXED, {"n": "top_n_sigma"}),
    ),
    PolicyKind(
        name="typical",
        title="Locally typical sampling",
        summary="Keeps the tokens whose surprise is nearest the entropy, up to this mass; may drop the likeliest one.",
        formula="keep smallest |−ln p − H| up to mass p",
        source="Meister et al. 2023, arXiv 2202.00666",
        keys=(Key("p", "float", 0.95, "the mass that is kept", 0.0, 0.999999, low_open=True),),
        stands_for=(FIXED, {"p": "typical_p"}),
    ),
    PolicyKind(
        name="eta",
        title="Eta sampling",
        summary="Drops tokens below a probability that falls with entropy, so that flat distributions keep more.",
        formula="keep p ≥ min(ε, √ε · e^(−H))",
        source="Hewitt, Manning & Liang 2022, arXiv 2210.15191",
        keys=(Key("cutoff", "float", 0.0003, "ε, the probability below which tokens go", 0.0, 1.0, low_open=True),),
        stands_for=(FIXED, {"cutoff": "eta_cutoff"}),
    ),
)
