"""The card of a tuned lens: Markdown written from its meta alone, so the two never disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.meta import Meta

LIMITS = """## Limits

- The KL is measured on reference text, where each token follows a correct past. While decoding, what the small model wrote
  is read by both models; nothing verifies it.
- The embedding is read by either model, so a family of two models saves more. The figures are of one model and say nothing
  about larger ones.
- The first layers' cache is computed twice, once for each model, although it is the same: the figures count two models."""


def text(name: str, meta: Meta) -> str:
    """The card of checkpoint `name`."""
    made, share = meta.metrics, meta.metrics["parameters"] / meta.metrics["large_parameters"]
    recipe = ", ".join(f"{key} {value:g}" for key, value in made["training"]["recipe"].items())
    parts = [
        f"# {name}\n",
        f"A tuned lens (Belrose et al. 2023, arXiv 2303.08112) that makes a small model of the first {made['layers']} of the "
        f"{made['of_layers']} layers of",
        f"`{meta.base.model}` (revision `{meta.base.revision}`): an affine map from the state after layer {made['layers']} to the "
        "final one, then the model's own norm",
        f"and unembedding. `entropy-switch` uses it where no second model is given. A token of the small model reads "
        f"{made['parameters'] / 1e6:.1f} million parameters,",
        f"{share:.1%} of the large model's {made['large_parameters'] / 1e6:.1f} million. Licence Apache-2.0.\n",
        "## How it was made\n",
        "Mean KL(p_large ‖ p_small) over reference text, minimised by Adam from a least-squares start. The large model's own",
        "predictions are the labels; the texts only say where it predicts. "
        f"{made['training']['tokens']} reply tokens trained on, one text in five held out.\n",
        KNOWN_TEXTS.get(meta.data_sha256[:16], ""),
        "```",
        meta.command or "(made from Python)",
        "```",
        f"\nCommit `{meta.commit}`, torch {meta.torch}, texts sha256 `{meta.data_sha256[:16]}…`. Recipe: {recipe}.\n",
        *_held_out(made["held_out"]),
        LIMITS,
    ]
    return "\n".join(parts) + "\n"


def _held_out(figures: Mapping[str, Any]) -> list[str]:
    large = figures["large model"]
    lines = [
        "## Held-out figures\n",
        f"{large['tokens']} reply tokens. KL(p_large ‖ p) in nats (lower is better); agreement: the most probable next token is",
        f"the large model's. The large model's mean entropy there is {large['entropy_bits']:.2f} bits.\n",
        "| prediction | KL, nats | agreement | mean entropy, bits | correlation of its entropy with the large model's |",
        "|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        row = figures[name]
        together = "–" if row["correlation"] is None else f"{row['correlation']:.3f}"
        lines.append(f"| {title} | {row['kl']:.3f} | {row['agreement']:.1%} | {row['entropy_bits']:.2f} | {together} |")
    return [
        *lines,
        "",
        "The rule of `entropy-switch` reads the author's entropy; the last column tells how well the small model's stands in for the",
        "large one's, token by token. The temperature is one number throughout, so its correlation with entropy is not defined.\n",
    ]


KNOWN_TEXTS = {
    "4a899195d2209b54": (
        "The texts: 250 self-instruct reference answers (human), 150 GSM8K reference solutions, XQuAD passages as encyclopedia\n"
        "paragraphs and 150 XQuAD gold answers, in shuffled order.\n"
    )
}
TITLES = {
    "lens": "**this lens**",
    "least squares": "the start: least squares to the final state",
    "logit lens": "the same layers, no lens (logit lens)",
    "unigram": "no context: the large model's mean prediction",
}
