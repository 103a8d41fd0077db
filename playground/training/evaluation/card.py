"""The card of a head: Markdown written from its meta alone, so the two never disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.meta import Meta
from playground.decoding.counts import several
from playground.training.evaluation import afterwards, repetition_card
from playground.training.evaluation.plan import MARGIN
from playground.training.lpo import LATENT

LOSSES = {
    "separate": "equation 10, separate",
    "latent-token": "equation 11, latent, a marginal a token",
    "latent-sequence": "equation 11, latent, the exact marginal of a reply",
    "joint": "equation 9, joint, the language model frozen",
    "nll": "negative log-likelihood of what was chosen, a baseline",
}
UNMEASURED = "No held-out figures yet: run `python -m playground evaluate --suite SUITE`.\n"
GAINS = {"head_minus": "head minus it", "head_minus_untouched": "the same, untouched clusters"}
SOURCES = {"human": "people", "verifier": "programs that check a reply", "heuristic": "a heuristic"}


def text(name: str, meta: Meta) -> str:
    """The card of checkpoint `name`."""
    level = meta.kind.removeprefix("adaptive-")
    parts = [
        f"# {name}\n",
        f"An AdaptiveDecoder head (Dhuliawala et al. 2024, arXiv 2411.09661), {level} level: it reads the last hidden state of",
        f"`{meta.base.model}` (revision `{meta.base.revision}`, hidden size {meta.base.hidden_size}) and gives a distribution over the",
        f"temperatures {', '.join(f'{t:g}' for t in meta.grid)}. Three layers, hidden {meta.width}, SiLU. Licence Apache-2.0.\n",
        "## How it was made\n",
        *_labels(meta),
        "```",
        meta.command or "(made from Python)",
        "```",
        f"\nCommit `{meta.commit}`, torch {meta.torch}, preference files sha256 `{meta.data_sha256[:16]}…`.\n",
        *_training(meta.metrics.get("training", {})),
        *_suites(meta.metrics.get("suites", {}), _pairs(meta)),
        *repetition_card.lines(meta.metrics.get("repetition", {})),
        *([] if meta.metrics.keys() & {"suites", "repetition"} else [UNMEASURED]),
        "\n## Temperatures chosen under argmax on held-out pairs\n",
        "| " + " | ".join(f"{t:g}" for t in meta.grid) + " |",
        "|" + "---|" * len(meta.grid),
        "| " + " | ".join(f"{share:.1%}" for share in meta.temperature_histogram) + " |\n",
        *_matched(meta.metrics.get("matched_entropy", {})),
        *_afterwards(meta),
        *_limits(meta),
    ]
    return "\n".join(parts) + "\n"


def _labels(meta: Meta) -> list[str]:
    """The loss, and who said what is better."""
    lines = [f"Latent preference optimization with the loss {meta.loss} ({LOSSES.get(meta.loss, 'of its own')})."]
    labels = meta.metrics.get("training", {}).get("labels")
    if labels:
        sources = ", ".join(f"{count} by {SOURCES.get(name, name)}" for name, count in labels["source"].items())
        families = ", ".join(f"{name} {count}" for name, count in labels["family"].items())
        lines += [f"Preferences read: {sources}; by family of prompt: {families}."]
    elif meta.command:
        lines += [
            "Labels by verifiable rewards, no human votes: fewer repeated 4-grams in stories, accepted answers in facts."
        ]
    if meta.metrics.get("training", {}).get("recipe", {}).get("pool") == "family":
        lines += [
            "The votes on all prompts of a family were fitted together, and the head learned from states which family's temperatures",
            "are called for. It is told no family when it decodes. Held-out loss and accuracy are those of equation 10.",
        ]
    if meta.parent:
        lines += [f"It went on from `{meta.parent}`."]
    return lines


def _afterwards(meta: Meta) -> list[str]:
    found = afterwards.lines(meta)
    return ["## Found afterwards\n", *found, ""] if found else []


def _limits(meta: Meta) -> list[str]:
    """What these figures do not say."""
    sources = meta.metrics.get("training", {}).get("labels", {}).get("source", {"verifier": 0})
    lines = ["## Limits\n"]
    if "human" not in sources:
        lines.append(
            "- The labels come from programs, not from people: nothing here says that a reader prefers these replies."
        )
    lines += [
        "- It was made for one model; the figures say nothing about others.",
        "- Few prompts: read the intervals, not the means.",
        "- A gain on several kinds of prompt together shows that the head tells them apart; only `shuffled` at token level tests",
        "  whether it matters *where* in a reply the temperature changes.",
    ]
    return lines


def _training(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return []
    recipe = ", ".join(
        f"{key} {value}" if isinstance(value, str) else f"{key} {value:g}" for key, value in metrics["recipe"].items()
    )
    return [
        f"{several(metrics['train_pairs'], 'pair')} trained on, {metrics['held_out_pairs']} of other prompts held out for early stopping "
        f"(epoch {metrics['epoch'] + 1}; held-out loss {metrics['held_out_loss']:.4f}{_ignorance(metrics['recipe'])}; accuracy "
        f"{metrics['held_out_accuracy']:.3f}; calibration error {metrics['calibration_error']:.3f}).",
        f"Recipe: {recipe}.\n",
    ]


def _ignorance(recipe: Mapping[str, Any]) -> str:
    """What the uniform head's loss would be, where that is the same whatever the votes are."""
    plain = (recipe.get("strength", "none"), recipe.get("reference", "uniform")) == ("none", "uniform")
    return ", ln 2 = 0.6931 is no knowledge" if plain and recipe["loss"] in ("separate", *LATENT) else ""


def suite_summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of an evaluation (evaluate.run) a meta keeps: every policy's score and the head's difference, and what made them."""

    def short(value: Mapping[str, Any]) -> dict[str, Any]:
        return {key: None if value[key] is None else round(value[key], 5) for key in ("mean", "half")}

    groups = {}
    for name, group in result["groups"].items():
        rows = []
        for row in group["policies"]:
            kept = {"name": row["name"], "kind": row["kind"], "score": short(row["score"])}
            kept["strata"] = {key: round(value["mean"], 5) for key, value in row["strata"].items()}
            kept |= {key: short(row[key]) for key in GAINS if key in row}
            rows.append(kept)
        kept_group = {key: group[key] for key in ("strata", "seeds", "verdict")}
        groups[name] = {**kept_group, "policies": rows, "chosen": group["histograms"]["head"]}
    made = {
        key: result["made_by"][key] for key in ("command", "commit", "labels_sha256", "label_pairs", "seeds", "folds")
    }
    return {"plan": result["plan"], "made_by": made, "groups": groups}


def _pairs(meta: Meta) -> int:
    """How many pairs the file was fitted to, those held out for early stopping included."""
    training = meta.metrics.get("training", {})
    return int(training.get("train_pairs", 0) + training.get("held_out_pairs", 0))


def _suites(suites: Mapping[str, Any], pairs: int) -> list[str]:
    """The full table of every suite; `pairs` is what the file itself was fitted to."""
    lines = []
    for suite, found in sorted(suites.items()):
        made = found["made_by"]
        lines += [
            f"## Suite {suite}\n",
            f"Heads of this recipe, {several(made['seeds'], 'seed')} and {several(made['folds'], 'fold')} over clusters ({several(made['label_pairs'], 'labelled pair')}; no label of",
            "a held-out cluster reached the head that was scored on it). This file was fitted by the same recipe; the folds measure",
            "the recipe. Means over strata of means over clusters, 95 % t intervals over clusters, paired by task; every policy looks",
            f"up the same replies. Fixed before the run: the grid, filters {', '.join(found['plan']['filters'])}, equal weights.",
            *(
                [f"(This file has {pairs} pairs: those beyond are of prompts of no suite.)"]
                if pairs > made["label_pairs"]
                else []
            ),
            "A half-width of 0 says that these clusters are equal, not that others would be.\n",
            "```",
            made["command"] or "(made from Python)",
            "```",
            f"\nCommit `{made['commit']}`.\n",
        ]
        for name, group in found["groups"].items():
            lines += _group(name, group)
        lines.append(
            "A win on this suite shows that the head detects the type of prompt. It is not evidence of more.\n"
        )
    return lines


def _group(name: str, group: Mapping[str, Any]) -> list[str]:
    strata, verdict = group["strata"], group["verdict"]
    counts = "; ".join(
        f"{key}: {s['tasks']} tasks in {s['clusters']} clusters, {s['metric']}" for key, s in strata.items()
    )
    said = {True: "beats", False: "does not beat"}
    gains = {key: title for key, title in GAINS.items() if any(key in row for row in group["policies"])}
    lines = [
        f"### {name}\n",
        f"{counts}. Each seed alone: {', '.join(f'{value:.3f}' for value in group['seeds'])}.\n",
        f"The head {said[verdict['beats_every_fixed']]} every fixed temperature of the grid, and {said[verdict['beats_shuffled']]} its own",
        f"temperatures on shuffled prompts. {_against_router(verdict)} Score higher: {', '.join(verdict['scores_higher_than_the_head']) or 'none'}.\n",
        *_untouched(strata, verdict),
        "| policy | score | " + " | ".join((*strata, *gains.values())) + " |",
        "|---|---|" + "---|" * (len(strata) + len(gains)),
    ]
    for row in group["policies"]:
        cells = " | ".join(f"{row['strata'][key]:.3f}" for key in strata)
        label = f"**{row['name']}**" if row["kind"] == "head" else row["name"]
        differences = " | ".join(_interval(row[key], sign=True) if key in row else "" for key in gains)
        lines.append(f"| {label} | {_interval(row['score'])} | {cells} | {differences} |")
    chosen = "; ".join(
        f"{key}: " + ", ".join(f"{share:.0%}" for share in shares) for key, shares in group["chosen"].items()
    )
    return [*lines, "", f"Temperatures chosen, in the order of the grid: {chosen}.\n"]


def _untouched(strata: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[str]:
    """Which clusters had no part in any choice, and what holds on them alone."""
    missed = verdict.get("not_beaten_on_untouched")
    if missed is None:
        return []
    counts = ", ".join(f"{s['untouched']} of {s['clusters']} {key}" for key, s in strata.items())
    found = f"includes 0 against {', '.join(missed)}" if missed else "excludes 0 against every fixed temperature"
    return [
        f"Wording and recipe were chosen on labels of other clusters than the untouched ones ({counts}); no fold trains on what",
        f"it scores. On the untouched clusters alone the interval {found}.\n",
    ]


def _against_router(verdict: Mapping[str, Any]) -> str:
    if verdict["better_than_router"]:
        return "It is better than the keyword router."
    if verdict["not_worse_than_router"]:
        return f"It is not worse than the keyword router by {MARGIN:g} or more."
    return f"That it is not worse than the keyword router by {MARGIN:g} is not shown."


def _matched(figures: Mapping[str, Any]) -> list[str]:
    """The constant that `matched` takes, and whether the head is hotter where the model is less sure."""
    if not figures:
        return []
    moves = figures["correlation"]
    return [
        "## The constant temperature that matches it\n",
        f"T = {figures['temperature']:.3f} has the head's mean entropy as drawn ({figures['mean_entropy_drawn']:.3f} nats) over the head's own",
        f"replies under argmax, {figures['tokens']} tokens of {figures['prompts']} held-out prompts, each of at most "
        f"{figures['max_tokens']}. Their mean temperature is {figures['mean_temperature']:.3f}.",
        "Correlation of temperature with the model's entropy at T = 1 over these tokens: "
        f"{'none, the temperature never changes' if moves is None else format(moves, '+.2f')}.\n",
        "```",
        figures["command"] or "(made from Python)",
        "```\n",
    ]


def _interval(value: Mapping[str, Any], sign: bool = False) -> str:
    half = "∞" if value["half"] is None else f"{value['half']:.3f}"
    return f"{value['mean']:{'+' if sign else ''}.3f} ± {half}"
