"""The charts of an evaluation as plain Plotly figures: {"data": […], "layout": {…}}.

Every colour is readable on white and on black, and backgrounds are clear, so one figure serves both modes of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playground.training.evaluation.statistics import above

Chart = dict[str, Any]
INK = "#84878f"
LINES = "rgba(132, 135, 143, 0.22)"
HEAD = "#d9722a"
STRATA = ("#2f7fd0", "#1a9a7a", "#b565b0", "#a08a2a")
MARKS = {
    "keyword router": ("dash", "#b565b0"),
    "per-family oracle": ("dot", "#a08a2a"),
    "shuffled prompts": ("dashdot", "#c14953"),
}
FILTERS = ("min-p 0.05", "min-p 0.1", "min-p 0.2", "top-p 0.9")


def layout(height: int, **changes: Any) -> Chart:
    """What all charts share."""
    axis = {"gridcolor": LINES, "zerolinecolor": LINES, "linecolor": LINES, "automargin": True, "fixedrange": True}
    base = {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12.5},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
        "xaxis": dict(axis),
        "yaxis": dict(axis),
        "bargap": 0.25,
    }
    for name, value in changes.items():
        known = base.get(name, dict(axis) if "axis" in name else {})
        base[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return base


def crossing(group: Mapping[str, Any], grid: Sequence[float]) -> Chart:
    """Score against the fixed temperature with 95 % bands, other policies as levels of the mean, chosen temperatures below."""
    rows = {row["name"]: row for row in group["policies"]}
    fixed = [rows[f"T {t:g}"] for t in grid]
    data: list[Chart] = []
    for name, colour in zip(group["strata"], STRATA, strict=False):
        data += _band(name, colour, grid, [row["strata"][name] for row in fixed])
    data += _band("their mean", INK, grid, [row["score"] for row in fixed], width=3)
    levels = {"head": ("solid", HEAD), **MARKS}
    for name, (dash, colour) in levels.items():
        value = rows[name]["score"]["mean"]
        line = {"color": colour, "dash": dash, "width": 3 if name == "head" else 2}
        hover = f"{name}: {value:.3f}<extra></extra>"
        ends = {"x": [grid[0], grid[-1]], "y": [value, value]}
        data.append({**ends, "name": name, "mode": "lines", "line": line, "hovertemplate": hover})
    for (name, shares), colour in zip(group["histograms"]["head"].items(), STRATA, strict=False):
        bars = {"type": "bar", "x": list(grid), "y": shares, "yaxis": "y2", "marker": {"color": colour}}
        data.append({**bars, "name": f"head's T, {name}", "showlegend": False, "width": 0.07})
    return {
        "data": data,
        "layout": layout(
            560,
            xaxis={"title": {"text": "temperature"}, "tickvals": list(grid), "anchor": "y2"},
            yaxis={"domain": [0.36, 1], "title": {"text": "score"}, "rangemode": "tozero"},
            yaxis2={"domain": [0, 0.26], "title": {"text": "share chosen"}, "range": [0, 1], "tickformat": ".0%"},
            margin={"b": 96},
            barmode="group",
        ),
    }


def differences(group: Mapping[str, Any], names: Sequence[str]) -> Chart:
    """Head minus each policy with its 95 % interval; right of 0 the head is better."""
    rows = _named(group, names)
    return _levels(
        rows,
        [row["head_minus"] for row in rows],
        {"title": {"text": "head minus it"}, "zeroline": True, "zerolinewidth": 2, "zerolinecolor": INK},
    )


def wins(group: Mapping[str, Any], names: Sequence[str]) -> Chart:
    """How often the head's candidate scores higher than each policy's, a tie counting half; bars from one half."""
    rows = _named(group, names)
    values = [row["head_wins"] for row in rows]
    data = {
        "type": "bar",
        "orientation": "h",
        "y": [row["name"] for row in rows],
        "base": 0.5,
        "x": [value["mean"] - 0.5 for value in values],
        "error_x": {"array": [value["half"] or 0 for value in values], "color": INK, "thickness": 1.5, "width": 3},
        "marker": {"color": [HEAD if value["mean"] >= 0.5 else STRATA[0] for value in values]},
        "customdata": [value["mean"] for value in values],
        "hovertemplate": "%{y}: %{customdata:.1%}<extra></extra>",
    }
    axis = {"title": {"text": "head wins, ties half"}, "tickformat": ".0%"}
    return {"data": [data], "layout": layout(60 + 26 * len(rows), xaxis=axis, yaxis=_top_down(), showlegend=False)}


def frontier(group: Mapping[str, Any], grid: Sequence[float]) -> Chart | None:
    """One stratum's score against the other's for every policy; None unless a group has two strata."""
    if len(group["strata"]) != 2:
        return None
    across, up = group["strata"]
    rows = {row["name"]: row for row in group["policies"]}

    def points(names: Sequence[str]) -> Chart:
        found = [rows[name] for name in names]
        return {
            "x": [row["strata"][across]["mean"] for row in found],
            "y": [row["strata"][up]["mean"] for row in found],
            "text": [row["name"] for row in found],
            "hovertemplate": "%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>",
        }

    warm = [t for t in grid if t]
    data = [
        {**points([f"T {t:g}" for t in grid]), "name": "T", "mode": "lines+markers", "line": {"color": INK, "width": 3}}
    ]
    known = FILTERS if f"T {warm[0]:g}, {FILTERS[0]}" in rows else ()
    for kept, colour in zip(known, ("#9db8d8", "#5f93cf", "#2f6cb0", "#5aa894"), strict=False):
        names = ["T 0", *(f"T {t:g}, {kept}" for t in warm)]
        line = {"color": colour, "width": 1.5}
        data.append(
            {**points(names), "name": f"T with {kept}", "mode": "lines+markers", "line": line, "marker": {"size": 4}}
        )
    for name, (_, colour) in MARKS.items():
        data.append({**points([name]), "name": name, "mode": "markers", "marker": {"color": colour, "size": 10}})
    heads = [row["name"] for row in group["policies"] if row["kind"] == "head"]
    mark = {"color": HEAD, "size": 13, "symbol": ["star", *["star-open"] * (len(heads) - 1)]}
    data.append({**points(heads), "name": "head (open: with a filter)", "mode": "markers", "marker": mark})
    return {
        "data": data,
        "layout": layout(460, xaxis={"title": {"text": across}}, yaxis={"title": {"text": up}}, margin={"b": 110}),
    }


def temperatures(group: Mapping[str, Any], grid: Sequence[float]) -> Chart:
    """The temperatures that policies chose, by stratum: one row a policy and stratum, dark is often."""
    names = [
        (policy, stratum)
        for policy, by_stratum in group["histograms"].items()
        for stratum in by_stratum
        if policy != "random T"
    ]
    values = [group["histograms"][policy][stratum] for policy, stratum in names]
    data = {
        "type": "heatmap",
        "x": [f"{t:g}" for t in grid],
        "y": [f"{policy}: {stratum}" for policy, stratum in names],
        "z": values,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "rgba(217,114,42,0)"], [1, HEAD]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, T %{x}: %{z:.0%}<extra></extra>",
    }
    axis = {"title": {"text": "temperature"}, "type": "category"}
    return {"data": [data], "layout": layout(70 + 24 * len(names), xaxis=axis, yaxis=_top_down())}


def reliability(bins: Sequence[Mapping[str, Any]]) -> Chart:
    """Predicted probability of the predicted winner against the share that really wins."""
    known = [b for b in bins if b["pairs"]]
    data = [
        {"x": [0.5, 1], "y": [0.5, 1], "mode": "lines", "name": "calibrated", "line": {"color": INK, "dash": "dot"}},
        {
            "x": [b["predicted"] for b in known],
            "y": [b["right"] for b in known],
            "mode": "lines+markers",
            "name": "head",
            "line": {"color": HEAD, "width": 3},
            "marker": {"size": 9},
            "text": [f"{b['pairs']:,} pairs" for b in known],
            "hovertemplate": "said %{x:.2f}, was %{y:.2f}<br>%{text}<extra></extra>",
        },
    ]
    said = {"title": {"text": "predicted probability"}, "range": [0.48, 1.02]}
    return {
        "data": data,
        "layout": layout(340, xaxis=said, yaxis={"title": {"text": "share that won"}}, margin={"b": 80}),
    }


def accuracies(rows: Mapping[str, Mapping[str, Any]]) -> Chart:
    """Accuracy, pass@N and maj@N against the fixed temperature."""
    n = max(row["n"] for row in rows.values())
    heats = [float(name.removeprefix("T ")) for name in rows]
    data: list[Chart] = []
    for (key, name), colour in zip(
        {"pass": f"pass@{n}", "maj": f"maj@{n}", "accuracy": "accuracy"}.items(),
        (STRATA[1], STRATA[2], STRATA[0]),
        strict=True,
    ):
        data += _band(name, colour, heats, [row[key] for row in rows.values()])
    axis = {"title": {"text": "temperature"}, "tickvals": heats}
    return {
        "data": data,
        "layout": layout(340, xaxis=axis, yaxis={"title": {"text": "share"}, "rangemode": "tozero"}, margin={"b": 80}),
    }


def _named(group: Mapping[str, Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
    rows = {row["name"]: row for row in group["policies"]}
    return [rows[name] for name in names]


def _levels(rows: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]], axis: Chart) -> Chart:
    data = {
        "y": [row["name"] for row in rows],
        "x": [value["mean"] for value in values],
        "error_x": {"array": [value["half"] or 0 for value in values], "thickness": 2, "width": 4, "color": INK},
        "mode": "markers",
        "marker": {
            "size": 9,
            "color": [HEAD if above(value) else INK for value in values],
            "symbol": ["circle-open" if value["half"] is None else "circle" for value in values],
        },
        "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>",
    }
    return {"data": [data], "layout": layout(60 + 26 * len(rows), xaxis=axis, yaxis=_top_down(), showlegend=False)}


def _top_down() -> Chart:
    return {"autorange": "reversed", "type": "category"}


def _band(
    name: str, colour: str, x: Sequence[float], values: Sequence[Mapping[str, Any]], width: int = 2
) -> list[Chart]:
    """A line with its interval as a lighter band behind it."""
    mean = [value["mean"] for value in values]
    half = [value["half"] or 0 for value in values]
    upper, lower = [m + h for m, h in zip(mean, half, strict=True)], [m - h for m, h in zip(mean, half, strict=True)]
    area = {
        "x": [*x, *reversed(x)],
        "y": [*upper, *reversed(lower)],
        "fill": "toself",
        "fillcolor": _faint(colour),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
    }
    line = {
        "x": list(x),
        "y": mean,
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "width": width},
        "legendgroup": name,
        "hovertemplate": "T %{x}: %{y:.3f}<extra>" + name + "</extra>",
    }
    return [area, line]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.14)"
