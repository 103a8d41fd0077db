"""The card of the `auto-deco` heads: Markdown written from their meta alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from models.meta import Meta
from playground.training.predictors.tempnet_card import texts_of


def text(name: str, meta: Meta) -> str:
    """The card of checkpoint `name`."""
    found = meta.metrics
    own = "bootstrap" in found and "own replies" in found["bootstrap"]["texts"]
    tokens, recipe = found["tokens"], ", ".join(f"{key} {value:g}" for key, value in found["recipe"].items())
    parts = [
        f"# {name}\n",
        "AutoDeco heads (Wang et al. 2025, arXiv 2510.26697): from the last hidden state of",
        f"`{meta.base.model}` (revision `{meta.base.revision}`, hidden size {meta.base.hidden_size}) a temperature 2·sigmoid(·) and a",
        f"top-p sigmoid(·) for every token; the top-p head also reads the temperature. Two layers each, hidden {meta.width}, SiLU.",
        "Licence Apache-2.0.\n",
        "## How it was made\n",
        "Cross-entropy of the reference token under softmax(logits / T) with the soft top-p mask exp(−30·relu(c − P)),",
        f"renormalised (equations 1 to 3), on {'' if own else 'reference text: '}{texts_of(meta)}.",
        "At most 64 evenly spaced tokens of a text; their logits kept in rank order, the 256 best as they are, the rest in 64 bins.\n",
        "```",
        meta.command or "(made from Python)",
        "```",
        f"\nCommit `{meta.commit}`, torch {meta.torch}, texts sha256 `{meta.data_sha256[:16]}…`.\n",
        f"{tokens['train']} tokens trained on, {tokens['validation']} of other prompts chose the epoch ({found['epoch']}, "
        f"{found['validation_nats']:.4f} nats), {tokens['held_out']} of further texts are held out.",
        f"Recipe: {recipe}.\n",
        "Departures from the paper: all of these replies instead of the accepted ones alone, every token weighing the same"
        if own
        else "Departures from the paper: human text instead of the model's own accepted samples, every token weighing the same",
        "(the paper drops part of the tokens that greedy decoding gets right and weights the rest by the model's probability;",
        "at T0-samples that weighting alone has the constant optimum T0 / (1 + T0)), standardised states, narrower heads, a start at the best constants of the training tokens.\n",
        *_held_out(found["held_out"]),
        *_hard(found["hard_top_p"]),
        *_histogram("Temperature", found["temperature"]),
        *_histogram("Top-p", found["top_p"]),
        "## Where the temperature is high\n",
        f"Correlation of temperature with entropy over held-out tokens: {found['correlation_temperature_entropy']:+.3f} "
        f"(ranks {found['rank_correlation_temperature_entropy']:+.3f}); of temperature with top-p "
        f"{found['correlation_temperature_top_p']:+.3f}.\n",
        f"At the first token of a reply the mean temperature is {found['first_token_temperature']:.3f}, over all tokens "
        f"{found['temperature']['mean']:.3f}: a reference reply often begins otherwise than the model would.\n",
        "## What it shows\n",
        *_conclusion(found["held_out"], meta, own),
    ]
    return "\n".join(parts) + "\n"


def _held_out(held: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Held-out loss\n",
        f'Nats for a reference token, mean over {held["tokens"]} tokens of {held["texts"]} texts. "By text" is the mean over texts of '
        "the difference per token, with a 95 % t interval over texts: a short answer weighs what a long passage does, so it is not "
        "the difference of the means beside it, which stands last and has no interval. Constants and the formula of the entropy H "
        "were chosen on the training tokens.\n",
        "| temperature | nats, over tokens | heads minus it, by text | heads minus it, over tokens |",
        "|---|---|---|---|",
        f"| **these heads**, soft top-p | {held['head']:.4f} | | |",
    ]
    for label, rival in held["rivals"].items():
        over_tokens = held["head"] - rival["nats"]
        lines.append(f"| {label} | {rival['nats']:.4f} | {_interval(rival['head_minus_it'])} | {over_tokens:+.4f} |")
    return [*lines, ""]


def _hard(hard: Mapping[str, float]) -> list[str]:
    return [
        "Decoding cuts hard where training cut softly: the reference token lies outside the kept set at "
        f"{hard['reference_tokens_out']:.2%} of the held-out tokens; the median set has {hard['median_tokens_kept']:.0f} tokens.\n"
    ]


def _histogram(title: str, found: Mapping[str, Any]) -> list[str]:
    edges = found["edges"]
    low, middle, high = found["quantiles"]
    return [
        f"## {title} on held-out tokens\n",
        "| " + " | ".join(f"{a:g}–{b:g}" for a, b in pairwise(edges)) + " |",
        "|" + "---|" * (len(edges) - 1),
        "| " + " | ".join(f"{share:.1%}" for share in found["shares"]) + " |\n",
        f"Mean {found['mean']:.3f}, median {middle:.3f}, 5 % below {low:.3f}, 5 % above {high:.3f}.\n",
    ]


def _conclusion(held: Mapping[str, Any], meta: Meta, own: bool) -> list[str]:
    """What the intervals say, and no more."""
    verdicts = []
    for label, rival in held["rivals"].items():
        minus = rival["head_minus_it"]
        half = float("inf") if minus["half"] is None else minus["half"]
        verdict = (
            "better"
            if minus["mean"] < -half
            else "worse"
            if minus["mean"] > half
            else "no different within the interval"
        )
        verdicts.append(
            f"- against {label}: {verdict} by text, {_interval(minus)} nats; over tokens {held['head'] - rival['nats']:+.4f}."
        )
    if own:
        texts = "the model's own replies"
        limit = "and on replies drawn at T the loss has its optimum at T: these heads know little but how the replies were drawn."
    else:
        texts = "human text"
        limit = "one model, English text."
    return [
        f"The loss asks how well the tempered, masked distribution predicts {texts}. The verdicts are by text; over tokens, where long",
        "texts decide, the differences are smaller and no interval was measured:\n"
        if _smaller(held)
        else "texts decide, no interval was measured:\n",
        *verdicts,
        "",
        "It says nothing about how a sampled reply reads. Texts of one article are counted as if they were independent, there is",
        f"one training seed, {limit}",
    ]


def _smaller(held: Mapping[str, Any]) -> bool:
    """Whether the heads win less over tokens than by text against every rival that they beat."""
    rivals = held["rivals"].values()
    return all(
        abs(held["head"] - r["nats"]) < abs(r["head_minus_it"]["mean"])
        for r in rivals
        if r["head_minus_it"]["mean"] < 0
    )


def _interval(value: Mapping[str, Any]) -> str:
    half = "∞" if value["half"] is None else f"{value['half']:.4f}"
    return f"{value['mean']:+.4f} ± {half}"
