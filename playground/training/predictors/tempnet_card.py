"""The card of a temperature network: Markdown written from its meta alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from models.meta import Meta

TEXTS = {  # what was trained on, by the first digits of the file's sha256
    "4a899195d2209b54": "250 self-instruct reference answers (human), 150 GSM8K reference solutions, XQuAD passages as encyclopedia "
    "paragraphs and 150 XQuAD gold answers"
}


def texts_of(meta: Meta) -> str:
    """What the texts of a label-free head were, as far as it is known."""
    named = meta.metrics.get("bootstrap", {}).get("texts")
    return TEXTS.get(meta.data_sha256[:16]) or named or "the file named below"


def text(name: str, meta: Meta) -> str:
    """The card of checkpoint `name`."""
    found, settings = meta.metrics, meta.settings
    tokens, recipe = found["tokens"], ", ".join(f"{key} {value:g}" for key, value in found["recipe"].items())
    form = (
        f"Full form: {meta.base.vocab_size} × {meta.width} first weights, since the logits are not a matrix times the state."
        if settings["full"]
        else f"Folded form, exact: W1·W_U and W1·1 ({meta.base.hidden_size + 1} × {meta.width}) are stored instead of W1 "
        f"({meta.base.vocab_size} × {meta.width}), and trained in this form."
    )
    parts = [
        f"# {name}\n",
        "TempNet (Qiu et al., ICML 2024, arXiv 2404.04575): from the logits of",
        f"`{meta.base.model}` (revision `{meta.base.revision}`, vocabulary {meta.base.vocab_size}) a temperature for every token,",
        f"trained so that the next token has an entropy of {settings['target_nats']:g} nats (rho = ln V − {settings['target_nats']:g} "
        f"= {settings['rho']:.3f}). {form} Licence Apache-2.0.\n",
        "## Why this target\n",
        f"{settings['target_nats']:g} nats is the default of `target-entropy`, so that the network and its exact optimum are the same policy",
        "and can stand side by side; it lies between the targets that the paper's rho means at its vocabulary of 32,000 (2.37",
        "nats at rho 8, 1.87 at 8.5). rho itself does not transfer between vocabularies. On the held-out tokens the model's own",
        f"entropy at T = 1 has the mean {found['measured']['entropy_mean']:.2f} and the median {found['measured']['entropy_median']:.2f} nats.\n",
        "## How it was made\n",
        f"Robust loss T · ln[(1/V) Σ exp((h_k − h_y) / T)] + rho · T on {texts_of(meta)}."
        if "bootstrap" in found
        else f"Robust loss T · ln[(1/V) Σ exp((h_k − h_y) / T)] + rho · T on reference text: {texts_of(meta)}.",
        "Its gradient is the entropy at T minus the target: the label cancels, the texts only say where the model is asked.",
        "The model is frozen, so each token's loss was tabulated over T once, exact at 24 temperatures and cubic in between.\n",
        "```",
        meta.command or "(made from Python)",
        "```",
        f"\nCommit `{meta.commit}`, torch {meta.torch}, texts sha256 `{meta.data_sha256[:16]}…`.\n",
        f"{tokens['train']} tokens trained on, {tokens['validation']} of other prompts chose the epoch ({found['epoch']}, "
        f"{found['validation_nats']:.4f} nats), {tokens['held out']} of further texts are held out.",
        f"Bounds while training [{settings['low']:g}, {settings['high']:g}], while decoding [0.01, 1.2] by clipping.",
        f"Recipe: {recipe}.\n",
        *_held_out(found),
        *_histogram(found),
        *_correlation(found["rivals"]),
        "## Limits\n",
        "- An equal entropy at every token is what the loss asks for; nothing here says that a reader prefers such replies.",
        "- `target-entropy` does the same exactly and costs a few softmaxes; the network shows how well it can be predicted.",
        "- One training seed, one model, English text.",
    ]
    return "\n".join(parts).rstrip() + "\n"


def _held_out(found: Mapping[str, Any]) -> list[str]:
    measured, rivals = found["measured"], found["rivals"]
    names = {
        "network": "**this network**",
        "target-entropy": "`target-entropy` (exact)",
        "constant": f"best constant, T = {found['constant']:g}",
    }
    lines = [
        "## Held-out figures\n",
        f"{measured['tokens']} evenly spaced tokens of the held-out texts, temperatures in [0.01, 1.2]. At "
        f"{measured['clipped_high']:.1%} the exact optimum is clipped at 1.2 (the model is surer than that can undo), at "
        f"{measured['clipped_low']:.1%} at 0.01; the error of entropy is the mean |entropy − target| over the other "
        f"{measured['free']}. The constant has the lowest robust loss on the training tokens.\n",
        "| temperature | error of entropy, nats | over clipped steps | robust loss, nats | mean T | share at a bound |",
        "|---|---|---|---|---|---|",
    ]
    for key, label in names.items():
        rival = rivals[key]
        clipped = "–" if rival["entropy_error_clipped"] is None else f"{rival['entropy_error_clipped']:.3f}"
        lines.append(
            f"| {label} | {rival['entropy_error']:.3f} | {clipped} | {rival['loss']:.4f} | {rival['temperature_mean']:.3f} "
            f"| {rival['at_bounds']:.1%} |"
        )
    gained = rivals["constant"]["loss"] - rivals["target-entropy"]["loss"]
    share = (rivals["constant"]["loss"] - rivals["network"]["loss"]) / gained if gained > 0 else 0.0
    return [
        *lines,
        "",
        f"Of the loss between the best constant and the exact optimum ({gained:.4f} nats) the network gains {share:.0%}. Its "
        f"temperature is off by {measured['error_of_temperature']:.3f} on average and correlates with the optimum by "
        f"{_signed(measured['correlation_network_optimum'])}.\n",
    ]


def _histogram(found: Mapping[str, Any]) -> list[str]:
    edges = found["edges"]
    return [
        "## Temperatures on held-out tokens\n",
        "| " + " | ".join(f"{a:g}–{b:g}" for a, b in pairwise(edges)) + " |",
        "|" + "---|" * (len(edges) - 1),
        "| " + " | ".join(f"{share:.1%}" for share in found["shares"]) + " |\n",
    ]


def _correlation(rivals: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Where the temperature is high\n",
        "Correlation of temperature with the entropy at T = 1 over the same tokens. Below 0: hot where the model is sure, cold",
        "where it is not, the opposite of EDT.\n",
        "| | Pearson | ranks |",
        "|---|---|---|",
    ]
    for key, label in (("network", "this network"), ("target-entropy", "`target-entropy` (exact)")):
        rival = rivals[key]
        lines.append(
            f"| {label} | {_signed(rival['correlation_entropy'])} | {_signed(rival['rank_correlation_entropy'])} |"
        )
    return [*lines, ""]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
