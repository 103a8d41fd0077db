"""Plotly charts of a training: its curves, which temperatures won, and what the head predicts before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playground.ui.figure import COLOURS, INK, Figure, blank

SOFT = "#a9acb4"


def loss_chart(epochs: Sequence[Mapping[str, Any]], kept: int | None = None) -> Figure:
    """Loss of the training and the held-out pairs by epoch; `kept` marks the epoch whose weights are the head's."""
    figure = blank("Loss by epoch", "epoch", "nats a pair", height=290, showlegend=True)
    _line(figure, epochs, "loss", "training pairs", 0, "dash")
    _line(figure, epochs, "held_out_loss", "held-out pairs", 1, "solid")
    _mark(figure, kept)
    return figure


def accuracy_chart(epochs: Sequence[Mapping[str, Any]], pairs: int | None = None, kept: int | None = None) -> Figure:
    """Share of the held-out pairs in which the head scores the chosen reply higher; half of them is chance."""
    figure = blank(
        "Held-out accuracy",
        "epoch",
        f"share of {pairs} pairs" if pairs else "share of pairs",
        height=290,
        showlegend=True,
    )
    _line(figure, epochs, "held_out_accuracy", "chosen above rejected", 1, "solid")
    figure.add_hline(0.5, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    _mark(figure, kept)
    return figure


def drawn_chart(rows: Sequence[Sequence[float]], unit: str) -> Figure:
    """Chosen and rejected by the temperature they were drawn at, each bar with its count, and their ratio above."""
    figure = blank("Chosen and rejected by temperature", "temperature", unit, height=330, showlegend=True)
    heat = [f"{row[0]:g}" for row in rows]
    for column, name, colour in ((1, "chosen", COLOURS[0]), (2, "rejected", SOFT)):
        counts = [row[column] for row in rows]
        figure.add_bar(x=heat, y=counts, name=name, marker={"color": colour}, hovertemplate="T %{x}: %{y} " + name)
    for place, (_, chosen, rejected) in enumerate(rows):  # a category's place: "0.2" would be read as a number
        figure.add_annotation(
            x=place,
            y=max(chosen, rejected),
            text=ratio(chosen, rejected),
            showarrow=False,
            yshift=11,
            font={"size": 12},
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[0, 1.15 * max((max(row[1:]) for row in rows), default=1)])
    return figure


def ratio(chosen: float, rejected: float) -> str:
    """Chosen over rejected as the chart writes it."""
    if not rejected:
        return "only won" if chosen else ""
    return f"{chosen / rejected:.2f}×"


def predicted_chart(
    grid: Sequence[float] = (),
    before: Sequence[float] = (),
    after: Sequence[float] = (),
    start: str = "",
    instead: str = "after the training",
) -> Figure:
    """The mean probability of each temperature over the states of held-out votes, of the start and of the new head.

    Without a grid it says `instead` and keeps the place of what comes: a chart beside it that was drawn wider would not become narrower.
    """
    figure = blank("Predicted temperature", "temperature", "mean over held-out votes", height=330, showlegend=True)
    if not grid:
        figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text=instead, showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        return figure
    heat = [f"{t:g}" for t in grid]
    for shares, name, colour in ((before, f"before: {start}", SOFT), (after, "after", COLOURS[1])):
        figure.add_bar(x=heat, y=list(shares), name=name, marker={"color": colour}, hovertemplate="T %{x}: %{y:.1%}")
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=".0%")
    return figure


def _line(figure: Figure, epochs: Sequence[Mapping[str, Any]], key: str, name: str, colour: int, dash: str) -> None:
    known = [epoch for epoch in epochs if epoch.get(key) is not None]
    figure.add_scatter(
        x=[epoch["epoch"] for epoch in known],
        y=[epoch[key] for epoch in known],
        mode="lines" if len(known) > 1 else "markers",
        name=name,
        line={"color": COLOURS[colour], "width": 1.8, "dash": dash},
    )


def _mark(figure: Figure, kept: int | None) -> None:
    if kept is not None:
        figure.add_vline(kept, line={"color": INK, "width": 1})
        figure.add_annotation(
            x=kept, y=1, yref="paper", text=f"kept: {kept}", showarrow=False, xanchor="left", xshift=4
        )
