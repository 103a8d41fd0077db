"""Plotly charts over a finished run: one line a lane, the colour and dash of the lane's mark. Drawn once, at the end.

Only plain line traces: Gradio draws them with an older plotly.js than the Python package ships.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from playground.decoding.trace import TokenStep

if TYPE_CHECKING:
    from playground.decoding.policies.spec import Channel

COLOURS = ("#2f7fd0", "#d9722a", "#1a9a7a", "#b565b0")
DASHES = ("solid", "dash", "dot", "dashdot")
INK = "#84878f"
GRID = "rgba(132, 135, 143, 0.22)"


def temperature_chart(lanes: Sequence[Sequence[TokenStep]], names: Sequence[str]) -> go.Figure:
    """Temperature by position; stepped, because it holds for one token."""
    return _chart(lanes, names, "Temperature by position", "temperature", lambda step: step.temperature, "hv")


def entropy_chart(lanes: Sequence[Sequence[TokenStep]], names: Sequence[str]) -> go.Figure:
    """Entropy of the raw distribution by position, in nats."""
    return _chart(lanes, names, "Entropy by position", "nats", lambda step: step.entropy, "linear")


def channel_chart(
    lanes: Sequence[Sequence[TokenStep]],
    names: Sequence[str],
    channel: Channel,
    targets: Sequence[float | None] = (),
) -> go.Figure:
    """A policy's own channel by position, for the lanes that have it; kinds are named along the axis.

    `targets` hold what each lane's channel is steered to, drawn as a thin level line in the lane's colour.
    """
    name = channel.name
    chart = _chart(
        [[step for step in steps if name in step.channel] for steps in lanes],
        names,
        f"{channel.title} by position",
        channel.unit,
        lambda step: step.channel[name],
        "hv" if channel.words else "linear",
    )
    chart.data = [line for line in chart.data if line.x]
    chart.update_layout(showlegend=True)  # also for a single lane
    for index, target in enumerate(targets):
        if target is not None:
            chart.add_hline(target, line={"color": COLOURS[index % 4], "width": 1}, opacity=0.7)
    if channel.words:
        values = [channel.low + kind for kind in range(len(channel.words))]
        chart.update_yaxes(tickvals=values, ticktext=list(channel.words))
    return chart


def _chart(
    lanes: Sequence[Sequence[TokenStep]],
    names: Sequence[str],
    title: str,
    unit: str,
    value: Callable[[TokenStep], float],
    shape: str,
) -> go.Figure:
    figure = go.Figure()
    for index, (steps, name) in enumerate(zip(lanes, names, strict=True)):
        figure.add_scatter(
            x=[step.position for step in steps],
            y=[value(step) for step in steps],
            mode="lines",
            name=name,
            line={"color": COLOURS[index % 4], "dash": DASHES[index % 4], "width": 1.8, "shape": shape},
        )
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID}
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0, "xref": "paper", "y": 1, "yanchor": "top", "pad": {"t": 6}},
        height=290,
        margin={"l": 48, "r": 12, "t": 76, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
        xaxis={**axis, "title": {"text": "position"}},
        yaxis={**axis, "title": {"text": unit}, "rangemode": "tozero"},
    )
    return figure
