"""A Plotly figure as every chart of the page begins: transparent, in the page's own sizes, with no buttons over it.

Gradio reads Plotly's `config` from the figure's JSON, where `to_json` does not put it. Only plain traces: Gradio draws
them with an older plotly.js than the Python package ships.
"""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go

COLOURS = ("#2f7fd0", "#d9722a", "#1a9a7a", "#b565b0")
DASHES = ("solid", "dash", "dot", "dashdot")
INK = "#84878f"
GRID = "rgba(132, 135, 143, 0.22)"
CONFIG = {"displayModeBar": False, "displaylogo": False, "showTips": False}


class Figure(go.Figure):  # type: ignore[misc]
    """A figure without Plotly's bar of buttons, which covers titles on touch and leads to another site."""

    def to_json(self, *args: Any, **kwargs: Any) -> str:
        return json.dumps(json.loads(super().to_json(*args, **kwargs)) | {"config": CONFIG})


def blank(title: str, across: str, up: str, height: int, left: int = 56, **layout: Any) -> Figure:
    """A figure with its title, axes and legend; a finger on it scrolls the page."""
    figure = Figure()
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "fixedrange": True}
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0, "xref": "paper", "y": 1, "yanchor": "top", "pad": {"t": 6}},
        height=height,
        margin={"l": left, "r": 12, "t": 76, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
        dragmode=False,
        xaxis={**axis, "title": {"text": across}},
        yaxis={**axis, "title": {"text": up}},
    )
    figure.update_layout(**layout)
    return figure
