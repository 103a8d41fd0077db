"""Charts over a finished run: an overlay of the heatmap by position, one line a lane in the colour and dash of its mark.

A long line is smoothed, and the line itself stays behind it, faint. A point says which token it is.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence

from playground.decoding.trace import TokenStep
from playground.ui.amounts import plain
from playground.ui.figure import COLOURS, DASHES, Figure, blank
from playground.ui.heading import Heading
from playground.ui.scales import Scale, channel_scales, scales

OWN = "own"
MOST = 3
SMOOTH_FROM = 200  # tokens
WINDOW = 21  # tokens
LONGEST = 40  # characters of a token in a hover label
FEW = 10  # tokens: an axis over fewer has a tick at each
BASIC: dict[str, Callable[[TokenStep], float]] = {
    "temperature": lambda step: step.temperature,
    "entropy": lambda step: step.entropy,
    "surprisal": lambda step: -step.logprob,
}
Lanes = Sequence[Sequence[TokenStep]]


def charts(lanes: Lanes, heads: Sequence[Heading], overlay: str = "") -> list[Figure]:
    """First the overlay that colours the tokens (or each lane's own), then temperature, entropy, a channel: three at most.

    An overlay that this run does not have gives way to what its lanes show first. Without a value nothing is drawn; a
    channel that is the same at every token is drawn only where it is asked for.
    """
    offered = (*scales(), *channel_scales([head.channels for head in heads]))
    known = {scale.name: scale for scale in offered if any(values(steps, scale.name) for steps in lanes)}
    pairs = list(zip(lanes, heads, strict=True))
    first = [overlay] if overlay in known else list(dict.fromkeys(first_sight(*pair) for pair in pairs))
    own = [channel.name for steps, head in pairs for channel in head.channels if varies(steps, channel.name)][:1]
    names = [name for name in dict.fromkeys((*first, "temperature", "entropy", *own)) if name in known]
    several = MOST if own else 2
    return [chart(lanes, heads, known[name]) for name in names[: max(several, len(first[:MOST]))]]


def chart(lanes: Lanes, heads: Sequence[Heading], scale: Scale) -> Figure:
    """One scale's value by position, for the lanes that have it; kinds are named along the axis."""
    found = [[(step, value(step, scale.name)) for step in steps] for steps in lanes]
    lines = [[(step, y) for step, y in line if y is not None] for line in found]
    smoothed = not scale.words and any(_long(line) for line in lines)
    title = f"{scale.title} by position"
    said = (
        f"{title}<br><sub>mean of {WINDOW} tokens; each token's value is faint behind it</sub>" if smoothed else title
    )
    figure = blank(said, "token", scale.unit, height=290, left=48, showlegend=True)
    for lane, (line, head) in enumerate(zip(lines, heads, strict=True)):
        if line or scale.name in BASIC:
            _draw(figure, lane, head.label or f"Lane {lane + 1}", line, scale)
    _targets(figure, heads, scale)
    if scale.words:
        figure.update_yaxes(tickvals=[scale.low + kind for kind in range(len(scale.words))], ticktext=list(scale.words))
    elif scale.spacing == "log":
        figure.update_yaxes(type="log", tickformat=",")
    elif scale.spacing == "even":
        figure.update_yaxes(rangemode="tozero")
    if max(map(len, lines), default=0) < FEW:
        figure.update_xaxes(dtick=1)
    return figure


def first_sight(steps: Sequence[TokenStep], head: Heading) -> str:
    """The overlay that a finished lane shows first: where its channel never varied, one that did (as in overlay.js)."""
    if head.shows in BASIC or varies(steps, head.shows):
        return head.shows
    return next((own.name for own in head.channels if varies(steps, own.name)), "entropy")


def varies(steps: Sequence[TokenStep], name: str) -> bool:
    """Whether a lane's tokens differ under an overlay."""
    return len(set(values(steps, name))) > 1


def values(steps: Sequence[TokenStep], name: str) -> list[float]:
    """The numbers that a lane's tokens have under an overlay."""
    return [found for step in steps if (found := value(step, name)) is not None]


def value(step: TokenStep, name: str) -> float | None:
    """A step's number under an overlay: None where it has none, or an infinite one."""
    found = BASIC[name](step) if name in BASIC else step.channel.get(name, math.nan)
    return found if math.isfinite(found) else None


def spelled(text: str) -> str:
    """A token as a hover label shows it: blanks to be seen, nothing that Plotly reads as markup or that turns the line."""
    shown = text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣")[:LONGEST]
    plain = "".join("·" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in shown)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def moving_mean(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """The mean over `window` values around each one; fewer at both ends."""
    half, sums = window // 2, [0.0]
    for one in values:
        sums.append(sums[-1] + one)
    spans = ((max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values)))
    return [(sums[end] - sums[begin]) / (end - begin) for begin, end in spans]


def _long(line: Sequence[tuple[TokenStep, float]]) -> bool:
    return len(line) >= SMOOTH_FROM


def _draw(figure: Figure, lane: int, name: str, line: Sequence[tuple[TokenStep, float]], scale: Scale) -> None:
    """The lane's values, and before a long line its mean. `meta` tells the page whose tokens the points are.

    Tokens are counted from 1, as on their cards.
    """
    x, y = [step.position + 1 for step, _ in line], [value for _, value in line]
    look = {"color": COLOURS[lane % 4], "dash": DASHES[lane % 4], "width": 1.8}
    shape = "hv" if scale.words or scale.name == "temperature" else "linear"
    faint = _long(line) and not scale.words
    figure.add_scatter(
        x=x, y=y, mode="lines+markers" if len(line) == 1 else "lines", name=name, meta=lane,
        text=[spelled(step.text) for step, _ in line], customdata=[plain(one, scale) for one in y],
        hovertemplate="%{customdata}  %{text}", line={**look, "shape": shape, **({"dash": "solid", "width": 1} if faint else {})},
        opacity=0.3 if faint else 1, showlegend=not faint, legendgroup=name,
    )  # fmt: skip
    if faint:
        figure.add_scatter(
            x=x, y=moving_mean(y), mode="lines", name=name, line={**look, "shape": "linear"}, hoverinfo="skip",
            legendgroup=name,
        )  # fmt: skip


def _targets(figure: Figure, heads: Sequence[Heading], scale: Scale) -> None:
    """What a lane's channel is steered to, as a thin level line in the lane's colour."""
    for lane, head in enumerate(heads):
        target = head.target(scale.name)
        if target is not None:
            figure.add_hline(target, line={"color": COLOURS[lane % 4], "width": 1}, opacity=0.7)
