"""What a head's card says about the frontier of repetition against coherence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.decoding.counts import several
from playground.training.evaluation.repetition_figures import COHERENCE

Value = Mapping[str, Any]


def summary(result: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """What of an evaluation a meta keeps: the head's own place and those of every other policy, and what made them."""
    families = {}
    for name, family in result["families"].items():
        labels = list(family["places"]["words"]["policies"])
        fixed = {
            label for found in family["places"].values() for corner in found["vertices"].values() for label in corner
        }
        families[name] = {
            "prompts": family["prompts"],
            "clusters": family["clusters"],
            "means": {label: _short(family["means"][label]) for label in (*labels, *sorted(fixed))},
            "places": {
                coherence: {
                    "vertices": found["vertices"],
                    "policies": {label: _short(row) for label, row in found["policies"].items()},
                }
                for coherence, found in family["places"].items()
            },
        }
    return {"policy": policy, "made_by": result["made_by"], "families": families}


def lines(found: Mapping[str, Any]) -> list[str]:
    """The section of the card; nothing for a head that was not measured."""
    if not found:
        return []
    made = found["made_by"]
    text = [
        "## Repetition against coherence\n",
        "The frontier is the lower convex hull of the share of repeated 4-grams and a measure of incoherence over every fixed",
        "temperature of the grid, alone and with min-p .05, .1, .2 and top-p .9: what mixtures of fixed settings reach. A distance",
        "above 0 lies beyond it, one below 0 inside; 1 is the way from the best to the worst plain temperature along one axis.",
        "95 % intervals: jackknife over clusters, Student's t. `plain`: the same for temperatures without a filter.",
        "A distance of 0 without an interval is no merit: the policy repeats as little as some fixed setting, whatever its coherence.",
        "`at equal repetition`: the frontier's incoherence there minus the policy's; above 0 the policy is the more coherent one.\n",
        "```",
        made["command"] or "(made from Python)",
        "```",
        f"\nCommit `{made['commit']}`, precision {made['precision']}, {several(made['samples'], 'reply', 'replies')} for every prompt and policy, at most "
        f"{made['max_tokens']} tokens.\n",
    ]
    for name, family in found["families"].items():
        text += _family(name, family, found["policy"])
    return text


def _family(name: str, family: Mapping[str, Any], policy: str) -> list[str]:
    text = [f"### {name}: {several(family['prompts'], 'prompt')} in {several(family['clusters'], 'cluster')}\n"]
    for coherence, title in COHERENCE.items():
        place = family["places"][coherence]
        own = place["policies"][policy]["minus"]
        text += [
            f"Coherence by {title}. Frontier: {', '.join(place['vertices']['all'])}.\n",
            f"| policy | repeated 4-grams | {title} | nats a token at T = 1 | distance | plain | at equal repetition | this head's distance minus it |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for label, row in place["policies"].items():
            means = family["means"][label]
            shown = f"**{label}**" if label == policy else label
            at_equal = interval(row["at_equal"], sign=True) if row["at_equal"] else "–"
            gain = interval(own[label], sign=True) if label in own else ""
            text.append(
                f"| {shown} | {interval(means['repetition'])} | {interval(means[coherence])} | {interval(means['nll'], 2)} | "
                f"{interval(row['distance'], sign=True)} | {interval(row['plain'], sign=True)} | {at_equal} | {gain} |"
            )
        text.append("")
    return text


def interval(value: Value, digits: int = 3, sign: bool = False) -> str:
    """A mean with the half-width of its interval."""
    half = "∞" if value["half"] is None else f"{value['half']:.{digits}f}"
    return f"{value['mean']:{'+' if sign else ''}.{digits}f} ± {half}"


def _short(value: Any) -> Any:
    """The same with five significant digits, so that a meta stays small."""
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
