"""The report of `evaluate --suite repetition`: charts of both families by both measures of coherence, tables, one sentence each."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from playground.decoding.counts import several
from playground.training.evaluation import report_charts as charts
from playground.training.evaluation.plan import FILTERS, setting
from playground.training.evaluation.repetition import PLAIN, RIVALS, controls
from playground.training.evaluation.repetition_card import interval
from playground.training.evaluation.repetition_figures import COHERENCE
from playground.training.evaluation.report import Page
from playground.training.evaluation.statistics import above
from playground.training.labels.lanes import GRID

HOW = (
    "Down and to the left is better. Every line is one filter over the temperatures; the shaded edge is the frontier: what a "
    "mixture of fixed settings reaches. A policy beyond it would be better than every fixed setting and every mixture."
)
DISTANCES = (
    "Right of 0 is beyond the frontier; 1 is the way from the best to the worst plain temperature along one axis. 95 % intervals: "
    "jackknife over clusters, Student's t. A distance of 0 without an interval is no merit: the policy repeats as little as some "
    "fixed setting, whatever its coherence. At equal repetition: the frontier's incoherence there minus the policy's, above 0 is better."
)
NLL = (
    "Nats a token under the model itself at T = 1 are printed beside and judge nothing: the model likes its own cold, repetitive "
    "replies best."
)
COLOURS = ("#9db8d8", "#5f93cf", "#2f6cb0", "#5aa894")


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """One HTML file without network."""
    page = Page("Repetition against coherence: policies and the frontier of fixed settings")
    page.raw(_overview(result))
    page.add("p", f"{DISTANCES} {NLL}", "note")
    for family, found in result["families"].items():
        page.add(
            "h2",
            f"{family.capitalize()}: {several(found['prompts'], 'prompt')} in {several(found['clusters'], 'cluster')}",
        )
        for coherence, title in COHERENCE.items():
            place = found["places"][coherence]
            page.chart(f"Repeated 4-grams against {title}", frontier(found, coherence, result["policies"]), HOW)
            page.chart("Distance from the frontier", distances(place))
            page.raw(_table(found, coherence, result["policies"]))
        page.raw(f"<details><summary>Every fixed setting</summary>{_fixed(found)}</details>")
    made = result["made_by"]
    page.add("h2", "How it was made")
    page.add("pre", made["command"] or "(made from Python)")
    page.add(
        "p",
        f"Commit {made['commit']}; {made['model']}, revision {made['revision']}, precision {made['precision']}; split "
        f"{made['split']}, {several(made['samples'], 'reply', 'replies')} for every prompt and policy, at most {made['max_tokens']} tokens, the same random "
        "numbers for every policy.",
        "note",
    )
    page.write(path)


def in_words(result: Mapping[str, Any]) -> str:
    """One line for every policy under test, family and measure of coherence."""
    return "\n".join(sentences(result))


def sentences(result: Mapping[str, Any]) -> list[str]:
    """Where every policy under test lies, in words."""
    found = []
    for policy, family, coherence, row in _under_test(result):
        found.append(
            f"{family}, by {COHERENCE[coherence]}: {short(policy)} {side(row['distance'])} "
            f"({interval(row['distance'], sign=True)}) and {side(row['plain'], 'temperatures alone')} "
            f"({interval(row['plain'], sign=True)})."
        )
    return found


def _under_test(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    for policy in result["policies"]:
        for family, figures in result["families"].items():
            for coherence in COHERENCE:
                yield policy, family, coherence, figures["places"][coherence]["policies"][policy]


def _overview(result: Mapping[str, Any]) -> str:
    """Every policy under test: its distance from both frontiers and from its own controls."""
    heads = (
        "policy",
        "distance",
        "prompts",
        "coherence by",
        "from temperatures alone",
        "minus shuffled",
        "minus matched",
        "verdict",
    )
    lines = [_row("th", heads)]
    for policy, family, coherence, row in _under_test(result):
        shuffled, matched = (row["minus"][control] for control in controls(policy))
        own, *others = (interval(value, sign=True) for value in (row["distance"], row["plain"], shuffled, matched))
        cells = (short(policy), own, family, COHERENCE[coherence], *others)
        lines.append(_row("td", (*cells, side(row["distance"]))))
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def side(value: Mapping[str, Any], of: str = "fixed settings") -> str:
    """On which side of the frontier a distance with this interval lies."""
    if above(value):
        return f"beyond the frontier of {of}"
    if above({**value, "mean": -value["mean"]}):
        return f"inside the frontier of {of}"
    return f"not to be told from the frontier of {of}"


def frontier(found: Mapping[str, Any], coherence: str, policies: Sequence[str]) -> charts.Chart:
    """Every fixed setting by filter, the frontier, and all policies, with intervals on those under test."""
    means, place = found["means"], found["places"][coherence]

    def points(names: Sequence[str]) -> charts.Chart:
        return {
            "x": [means[name]["repetition"]["mean"] for name in names],
            "y": [means[name][coherence]["mean"] for name in names],
            "text": list(names),
            "hovertemplate": "%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>",
        }

    shown = (*PLAIN[:-1], *policies)  # the hottest temperature would squeeze all others into a corner
    top = max(means[name][coherence]["mean"] + (means[name][coherence]["half"] or 0) for name in shown)
    right = max(means[name]["repetition"]["mean"] for name in PLAIN)
    corners = points(place["vertices"]["all"])
    edge = {
        "x": [corners["x"][0], *corners["x"], 2 * right + 1],
        "y": [2 * top + 1, *corners["y"], corners["y"][-1]],
        "name": "frontier",
        "mode": "lines",
        "line": {"color": charts.INK, "width": 7},
        "opacity": 0.35,
        "hoverinfo": "skip",
    }
    line = {"color": charts.INK, "width": 2}
    data = [edge, {**points(PLAIN), "name": "T", "mode": "lines+markers", "line": line}]
    warm = [t for t in GRID if t]
    for filter_, colour in zip(FILTERS, COLOURS, strict=True):
        names = [PLAIN[0], *(setting(t, filter_) for t in warm)]
        style = {"mode": "lines+markers", "line": {"color": colour, "width": 1.5}, "marker": {"size": 5}}
        data.append({**points(names), "name": f"T with {filter_[0].replace('_', '-')} {filter_[1]:g}", **style})
    for name, wanted, colour, symbol in (
        ("edt", [r for r in RIVALS if r.startswith("edt")], "#1a9a7a", "diamond"),
        ("target-entropy", [r for r in RIVALS if r.startswith("target")], "#b565b0", "square"),
        ("shuffled, matched", [c for p in policies for c in controls(p)], "#c14953", "x"),
    ):
        data.append(
            {
                **points(wanted),
                "name": name,
                "mode": "markers",
                "marker": {"color": colour, "size": 9, "symbol": symbol},
            }
        )
    for policy in policies:
        bars = {
            f"error_{axis}": {
                "array": [means[policy][key]["half"] or 0],
                "color": charts.HEAD,
                "thickness": 1.2,
                "width": 3,
            }
            for axis, key in (("x", "repetition"), ("y", coherence))
        }
        mark = {"color": charts.HEAD, "size": 14, "symbol": "star" if policy == policies[0] else "star-open"}
        data.append({**points([policy]), **bars, "name": short(policy), "mode": "markers", "marker": mark})
    return {
        "data": data,
        "layout": charts.layout(
            560,
            xaxis={"title": {"text": "share of repeated 4-grams"}, "range": [-0.03 * right, 1.12 * right]},
            yaxis={"title": {"text": COHERENCE[coherence]}, "range": [-0.04 * top, 1.1 * top]},
            margin={"b": 170},
        ),
    }


def distances(place: Mapping[str, Any]) -> charts.Chart:
    """The signed distance of every policy with its interval."""
    rows = place["policies"]
    names = list(rows)
    data = {
        "x": [rows[name]["distance"]["mean"] for name in names],
        "y": [short(name) for name in names],
        "mode": "markers",
        "error_x": {
            "array": [rows[name]["distance"]["half"] or 0 for name in names],
            "color": charts.INK,
            "thickness": 1.5,
            "width": 3,
        },
        "marker": {"size": 9, "color": [charts.HEAD if "minus" in rows[name] else charts.STRATA[0] for name in names]},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    axis = {"title": {"text": "distance"}, "zeroline": True, "zerolinewidth": 2}
    layout = charts.layout(70 + 26 * len(names), xaxis=axis, yaxis={"autorange": "reversed"}, showlegend=False)
    return {"data": [data], "layout": layout}


def short(label: str) -> str:
    """A label that fits beside a chart: a head by its name, without the model it belongs to."""
    for control in ("shuffled of ", "matched to "):
        if label.startswith(control):
            return control + short(label.removeprefix(control))
    name, _, values = label.partition(":")
    pairs = [part for part in values.split(",") if part]
    head = next((part.removeprefix("checkpoint=").partition(".")[0] for part in pairs if "checkpoint=" in part), name)
    return " ".join([head, *(part for part in pairs if "checkpoint=" not in part)])


def _table(found: Mapping[str, Any], coherence: str, policies: Sequence[str]) -> str:
    place, means = found["places"][coherence]["policies"], found["means"]
    heads = (
        "policy",
        "distance",
        "repeated 4-grams",
        COHERENCE[coherence],
        "nats a token",
        "mean T",
        "from T alone",
        "at equal repetition",
        *(f"{short(policy)} minus it" for policy in policies),
    )
    lines = [_row("th", heads)]
    for label, row in place.items():
        cells = [
            interval(row["distance"], sign=True),
            interval(means[label]["repetition"]),
            interval(means[label][coherence]),
            interval(means[label]["nll"], 2),
        ]
        cells += [
            f"{means[label]['temperature']['mean']:.2f}",
            interval(row["plain"], sign=True),
        ]
        cells.append(interval(row["at_equal"], sign=True) if row["at_equal"] else "–")
        gains = [place[policy]["minus"].get(label) for policy in policies]
        cells += [interval(gain, sign=True) if gain else "" for gain in gains]
        lines.append(_row("td", (short(label), *cells), "head" if label in policies else ""))
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _fixed(found: Mapping[str, Any]) -> str:
    fixed = [label for label in found["means"] if label.startswith("fixed:")]
    keys = ("repetition", *COHERENCE, "nll", "tokens")
    lines = [_row("th", ("setting", "repeated 4-grams", *COHERENCE.values(), "nats a token", "tokens"))]
    for label in fixed:
        lines.append(
            _row("td", (label.removeprefix("fixed:"), *(interval(found["means"][label][key]) for key in keys)))
        )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Sequence[str], style: str = "") -> str:
    name = f" class={style}" if style else ""
    return f"<tr{name}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
