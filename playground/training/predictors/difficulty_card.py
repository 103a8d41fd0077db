"""The card of a difficulty probe: Markdown written from its meta alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.meta import Meta
from playground.decoding.decoders.difficulty_router import CLASSES, PRESETS
from playground.training.evaluation import afterwards


def text(name: str, meta: Meta) -> str:
    """The card of checkpoint `name`."""
    found = meta.metrics
    recipe = found["recipe"]
    parts = [
        f"# {name}\n",
        "A probe for `difficulty-router` (DiffAdapt, Liu et al. 2025, arXiv 2510.19669): from the last hidden state of",
        f"`{meta.base.model}` (revision `{meta.base.revision}`, hidden size {meta.base.hidden_size}) at the end of the prompt to",
        f"{', '.join(CLASSES)}. Two layers, hidden {meta.width}, ReLU. Licence Apache-2.0.\n",
        "## How it was made\n",
        f"{found['prompts']} questions of fact with accepted answers, {recipe['samples']} replies each at T = "
        f"{recipe['temperature']:g}, at most {recipe['max_tokens']} tokens. Accuracy: the share of replies that hold an accepted answer. "
        "Entropy: of softmax(logits) at T = 1 in nats, mean over the tokens of a reply, then over the replies. Accuracy ≥ .85 and "
        "entropy ≤ .35 is normal, accuracy < .60 is hard, the rest is easy. No person labelled anything.\n",
        "```",
        meta.command or "(made from Python)",
        "```",
        f"\nCommit `{meta.commit}`, torch {meta.torch}, prompts sha256 `{meta.data_sha256[:16]}…`.\n",
        f"Recipe: {', '.join(f'{key} {value:g}' for key, value in recipe.items())}; epoch {found['epoch']} by the loss on the dev "
        "prompts.\n",
        "## Labels\n",
        *_labels(found),
        "## Held-out figures\n",
        *_held_out(found),
        "## What it shows\n",
        *_conclusion(found, afterwards.lines(meta)),
    ]
    return "\n".join(parts) + "\n"


def _labels(found: Mapping[str, Any]) -> list[str]:
    lines = ["| split | " + " | ".join(CLASSES) + " |", "|---|" + "---|" * len(CLASSES)]
    for split, counts in found["labels"].items():
        lines.append(f"| {split} | " + " | ".join(str(counts.get(c, 0)) for c in CLASSES) + " |")
    low, middle, high = found["entropy_quantiles"]
    return [
        *lines,
        "",
        f"Over all prompts {found['right_replies']:.1%} of the replies hold an accepted answer; the mean entropy is "
        f"{found['entropy_nats']:.2f} nats (smallest {low:.2f}, median {middle:.2f}, largest {high:.2f}; the paper's threshold is .35).\n",
    ]


def _held_out(found: Mapping[str, Any]) -> list[str]:
    count = sum(map(sum, found["confusion"]))
    r = found["correlation"]
    lines = [
        f"{count} prompts of the test split.\n",
        "| | accuracy | nats a prompt |",
        "|---|---|---|",
        f"| **this probe** | {found['accuracy']:.3f} | {found['nats']:.3f} |",
        f"| always the commonest class of the training prompts | {found['majority']:.3f} | |",
        f"| drawn with the training shares (chance) | {found['chance']:.3f} | {found['nats_of_the_shares']:.3f} |",
        "",
        "| true class | " + " | ".join(f"called {c}" for c in CLASSES) + " |",
        "|---|" + "---|" * len(CLASSES),
    ]
    for c, row in zip(CLASSES, found["confusion"], strict=True):
        lines.append(f"| {c} | " + " | ".join(map(str, row)) + " |")
    presets = ", ".join(f"{preset.name} {preset.temperature:g}" for preset in PRESETS)
    return [
        *lines,
        "",
        f"Correlation of temperature with entropy over the test prompts (temperatures {presets}): "
        + ("none, since every prompt gets one temperature." if r is None else f"{r:+.3f}."),
        "",
    ]


def _conclusion(found: Mapping[str, Any], later: Sequence[str]) -> list[str]:
    totals = {c: sum(counts.get(c, 0) for counts in found["labels"].values()) for c in CLASSES}
    absent = [c for c in CLASSES if totals[c] < 0.05 * found["prompts"]]
    gain, count = found["accuracy"] - found["majority"], sum(map(sum, found["confusion"]))
    verdict = "more" if gain > 0 else "fewer" if gain < 0 else "exactly as many"
    compared = f"{verdict} test prompts right {'than' if gain else 'as'} the commonest class alone"
    lines = [f"- The probe gets {compared} ({found['accuracy']:.3f} against {found['majority']:.3f} of {count})."]
    if absent:
        lines.append(
            f"- {' and '.join(absent).capitalize()} is as good as absent ({', '.join(f'{c} {totals[c]}' for c in CLASSES)} of "
            f"{found['prompts']} prompts): the thresholds were set for reasoning models many times this size, whose replies are far "
            "surer. The probe cannot learn a class it never saw, so its preset is reached by hand only."
        )
    return [
        *lines,
        *later,
        "- The labels are of one-sentence questions of fact in a few templates; on other prompts the class is a guess.",
        "- Whether the presets help was not measured: their instructions are meant for models that follow them.",
        "- One model, few prompts, and one training seed.",
    ]
