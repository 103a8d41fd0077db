"""The report of an evaluation: one HTML file that holds its charts, its tables and plotly.js, and asks no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from playground.decoding.counts import several
from playground.training.evaluation import report_charts as charts
from playground.training.evaluation.plan import MARGIN
from playground.training.evaluation.statistics import above

STATIC = Path(__file__).resolve().parents[3] / "static"
DETECTION = (
    "A win here shows that the head tells kinds of prompt apart; it is no claim about single prompts of one kind."
)
SHOWN = ("fixed", "opponent", "bound")


class Page:
    """Parts of a page in order; `chart` keeps a figure and leaves its place."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]
        self._charts: list[charts.Chart] = []

    def add(self, tag: str, text: str, style: str = "") -> None:
        """An element that holds plain text."""
        name = f' class="{style}"' if style else ""
        self._parts.append(f"<{tag}{name}>{html.escape(text)}</{tag}>")

    def raw(self, markup: str) -> None:
        """Markup that was escaped by whoever made it."""
        self._parts.append(markup)

    def chart(self, title: str, figure: charts.Chart, caption: str = "") -> None:
        self.add("h3", title)
        if caption:
            self.add("p", caption, "note")
        self._parts.append(f'<div class="chart" data-chart="{len(self._charts)}"></div>')
        self._charts.append(figure)

    def write(self, path: Path) -> None:
        """The whole page as one file, plotly.js inside."""
        from plotly.offline import get_plotlyjs

        figures = json.dumps(self._charts, allow_nan=False).replace("<", "\\u003c")  # no end tag within a script
        template = Template((STATIC / "report.html").read_text(encoding="utf-8"))
        text = template.substitute(
            title=html.escape(self.title),
            style=(STATIC / "report.css").read_text(encoding="utf-8"),
            plotly=get_plotlyjs(),
            body="\n".join(self._parts),
            charts=figures,
        )
        path.write_text(text, encoding="utf-8")


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """The report of what `evaluate.run` returned."""
    page = Page(f"{result['suite'].replace('-', ' ').capitalize()}: a learned temperature against fixed ones")
    page.add("p", DETECTION, "note")
    for name, group in result["groups"].items():
        _group(page, name, group, result["plan"]["grid"])
    for name, rows in result["checkable"].items():
        if rows:
            page.add("h2", f"Answers that can be checked: {name}")
            page.chart("Accuracy, pass@N and maj@N against the temperature", charts.accuracies(rows), CHECKED)
    _made_by(page, result)
    page.write(path)


CHECKED = (
    "pass@N: one of N replies holds the answer. maj@N: the most frequent reply does. T = 0 has one reply. Bands: 95 % t "
    "intervals over clusters."
)
CROSSING = (
    "Bands: 95 % t intervals over clusters. Levels: what the head, the keyword router, the per-family oracle and the head's "
    "own temperatures on the wrong prompts reach on the mean. Below: the temperatures that the head chose."
)
DIFFERENCE = (
    "Paired by task; 95 % t intervals over clusters. An interval of width 0 says that these clusters are equal, not that others "
    "would be; an open mark has no interval, since there is one cluster."
)
RELIABLE = (
    "Two candidates at two temperatures, one of which scored higher: how sure the head was of the one it preferred, against "
    "how often that one won. This is about preferences; the sampling temperature it picks calibrates no model's probabilities."
)


def _group(page: Page, name: str, group: Mapping[str, Any], grid: Sequence[float]) -> None:
    main = [row["name"] for row in group["policies"] if row["kind"] in SHOWN]
    page.add("h2", name.capitalize())
    page.raw(_verdict(group))
    page.chart("Score against the fixed temperature", charts.crossing(group, grid), CROSSING)
    page.chart("The difference", charts.differences(group, main), DIFFERENCE)
    page.chart(
        "Win rate", charts.wins(group, main), "Candidate against candidate on the same task, strata weighing the same."
    )
    figure = charts.frontier(group, grid)
    if figure is not None:
        page.chart("Both kinds at once", figure, "Up and to the right is better. Hover a point for its setting.")
    page.chart(
        "Temperatures chosen",
        charts.temperatures(group, grid),
        "Share of each temperature, by policy and kind of prompt.",
    )
    page.chart("Are predicted preferences as likely as they say?", charts.reliability(group["reliability"]), RELIABLE)
    page.add("h3", "All figures")
    shown = [row for row in group["policies"] if row["kind"] != "filtered"]
    page.raw(table(shown, list(group["strata"])))
    rest = [row for row in group["policies"] if row["kind"] == "filtered"]
    if rest:
        page.raw(
            f"<details><summary>Every temperature with every filter</summary>{table(rest, list(group['strata']))}</details>"
        )
    counts = "; ".join(
        f"{stratum}: {s['tasks']} tasks in {s['clusters']} clusters, {s['metric']}"
        + (f" of {s['replies']}" if s["replies"] > 1 else "")
        + f", {several(s['samples'], 'candidate')} a setting"
        for stratum, s in group["strata"].items()
    )
    page.add(
        "p",
        f"{counts}. Seeds of the head, each alone: {', '.join(f'{value:.3f}' for value in group['seeds'])}.",
        "note",
    )


def table(rows: Sequence[Mapping[str, Any]], strata: Sequence[str]) -> str:
    """Score, each stratum's score, and the head's difference; a difference whose interval lies above 0 stands out."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("policy", "score", "head minus it", *strata))
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        gain = row.get("head_minus")
        won = gain is not None and above(gain)
        cells = [
            f"<td>{html.escape(row['name'])}</td>",
            f"<td>{row['score']['mean']:.3f}</td>",
            f"<td{' class=won' if won else ''}>{interval(gain) if gain else ''}</td>",
            *(f"<td>{row['strata'][name]['mean']:.3f}</td>" for name in strata),
        ]
        lines.append(f"<tr{' class=head' if row['kind'] == 'head' else ''}>{''.join(cells)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def interval(value: Mapping[str, Any]) -> str:
    """A difference with the half-width of its interval."""
    half = "∞" if value["half"] is None else f"{value['half']:.3f}"
    return f"{value['mean']:+.3f} ± {half}"


def _verdict(group: Mapping[str, Any]) -> str:
    verdict = group["verdict"]
    rows = {row["name"]: row for row in group["policies"]}
    head, fixed = rows["head"]["score"]["mean"], verdict["best_fixed"]
    gain = interval(rows[fixed]["head_minus"])
    every = "beats every fixed temperature" if verdict["beats_every_fixed"] else "does not beat every fixed temperature"
    placebo = (
        "beats its own temperatures on the wrong prompts"
        if verdict["beats_shuffled"]
        else "does not beat its own temperatures on the wrong prompts"
    )
    if verdict["better_than_router"]:
        router = "it is better than the keyword router"
    elif verdict["not_worse_than_router"]:
        router = f"it is not worse than the keyword router by {MARGIN:g} or more"
    else:
        router = f"that it is not worse than the keyword router by {MARGIN:g} is not shown"
    router += f" ({interval(rows['keyword router']['head_minus'])})"
    higher = ", ".join(verdict["scores_higher_than_the_head"]) or "none"
    return (
        f'<p class="verdict">The head scores {head:.3f}. It <strong>{every}</strong> of the grid (the best, {html.escape(fixed)}: '
        f"{rows[fixed]['score']['mean']:.3f}, difference {gain}) and <strong>{placebo}</strong>, where the 95 % interval of the "
        f'difference must lie above 0; {html.escape(router)}.</p><p class="note">Score higher than the head: {html.escape(higher)}.</p>'
    )


def _made_by(page: Page, result: Mapping[str, Any]) -> None:
    made, plan = result["made_by"], result["plan"]
    page.add("h2", "How it was made")
    page.add(
        "p",
        f"Fixed before the run: temperatures {', '.join(f'{t:g}' for t in plan['grid'])}; filters {', '.join(plan['filters'])}; "
        f"weights: {plan['weights']}. {several(made['label_pairs'], 'labelled pair')}, {several(made['seeds'], 'seed')}, {several(made['folds'], 'fold')}; no "
        "label of a held-out cluster reached the head that was scored on it.",
    )
    page.add("pre", made["command"] or "(made from Python)")
    page.add("p", f"Commit {made['commit']}; {made['model']}, revision {made['revision']}.", "note")
    page.raw(
        f"<details><summary>Everything else</summary><pre>{html.escape(json.dumps(made, indent=1))}</pre></details>"
    )
