"""The colour scales of the heatmap: domain, unit and perceptually even stops, for the light and the dark theme.

Stops are sampled at equal distances along straight lines in OKLab (Ottosson 2020), so equal steps of a quantity look
like equal steps of colour. Temperature diverges from 0.7, the usual fixed choice: blue is cooler, orange is hotter, a
pair that stays apart under the common colour-vision deficiencies. Entropy and surprisal are sequential, told apart by
lightness alone; a policy's own channel is the one or the other. Every stop keeps the theme's ink readable (WCAG contrast
of at least 4.5).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playground.decoding.policies.spec import Channel, Spacing

Theme = Literal["light", "dark"]
Lab = tuple[float, float, float]
INK: dict[Theme, str] = {"light": "#17181c", "dark": "#f4f4f1"}
STOPS = 11


@dataclass(frozen=True, slots=True)
class Scale:
    """One overlay. Values beyond `low` or `high` take the end colour and a mark that says so.

    centre   the value of the middle colour; None is halfway
    words    what the whole values low, low + 1, … are called, where they are kinds rather than amounts
    spacing  how values lie between `low` and `high`, as in Channel
    counts   whether it is a whole number of things
    """

    name: str
    title: str
    unit: str
    low: float
    high: float
    ticks: tuple[float, ...]
    ends: tuple[str, str]
    light: tuple[str, ...]
    dark: tuple[str, ...]
    centre: float | None = None
    words: tuple[str, ...] = ()
    help: str = ""
    spacing: Spacing = "even"
    counts: bool = False

    def to_record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "ticks": list(self.ticks),
            "ends": list(self.ends),
            "stops": {"light": list(self.light), "dark": list(self.dark)},
            "centre": self.centre,
            "words": list(self.words),
            "help": self.help,
            "spacing": self.spacing,
            "counts": self.counts,
        }


def oklch(lightness: float, chroma: float, hue: float) -> Lab:
    """An OKLab colour from lightness 0–1, chroma and hue in degrees."""
    angle = math.radians(hue)
    return lightness, chroma * math.cos(angle), chroma * math.sin(angle)


def to_hex(lab: Lab) -> str:
    """sRGB of an OKLab colour, clipped to the gamut."""
    lightness, a, b = lab
    long, medium, short = (
        (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _encode(value)):02x}" for value in linear)


def _encode(linear: float) -> float:
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def ramp(anchors: Sequence[Lab], count: int) -> tuple[str, ...]:
    """`count` colours at equal arc length along the polyline through `anchors`."""
    lengths = [math.dist(p, q) for p, q in itertools.pairwise(anchors)]
    colours = []
    for index in range(count):
        rest, segment = sum(lengths) * index / (count - 1), 0
        while segment < len(lengths) - 1 and rest > lengths[segment]:
            rest -= lengths[segment]
            segment += 1
        share = rest / lengths[segment]
        p, q = anchors[segment], anchors[segment + 1]
        colours.append(to_hex(tuple(x + share * (y - x) for x, y in zip(p, q, strict=True))))  # type: ignore[arg-type]
    return tuple(colours)


_COOL_NEUTRAL_HOT = {
    "light": (oklch(0.695, 0.125, 250), oklch(0.955, 0.004, 95), oklch(0.735, 0.154, 53)),
    "dark": (oklch(0.50, 0.135, 256), oklch(0.285, 0.006, 270), oklch(0.515, 0.122, 48)),
}
_SEQUENTIAL = {
    "light": (oklch(0.975, 0.018, 105), oklch(0.86, 0.105, 150), oklch(0.66, 0.105, 215)),
    "dark": (oklch(0.275, 0.012, 265), oklch(0.385, 0.085, 235), oklch(0.53, 0.095, 180)),
}


def scales() -> tuple[Scale, ...]:
    """The three overlays, in the order of the switch."""
    diverging, sequential = _ramps(_COOL_NEUTRAL_HOT), _ramps(_SEQUENTIAL)
    return (
        Scale("temperature", "Temperature", "", 0.0, 1.4, (0, 0.35, 0.7, 1.05, 1.4), ("careful", "free"), *diverging),
        Scale("entropy", "Entropy", "nats", 0.0, 5.0, (0, 1, 2, 3, 4, 5), ("certain", "open"), *sequential),
        Scale("surprisal", "Surprisal", "nats", 0.0, 8.0, (0, 2, 4, 6, 8), ("expected", "surprising"), *sequential),
    )


def _ramps(anchors: Mapping[str, Sequence[Lab]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The light and the dark colours of a scale."""
    return ramp(anchors["light"], STOPS), ramp(anchors["dark"], STOPS)


def channel_scales(lanes: Sequence[Sequence[Channel]]) -> tuple[Scale, ...]:
    """One overlay a channel that any lane has, wide enough for all lanes; the first lane's words hold."""
    found: dict[str, Scale] = {}
    for channel in (channel for lane in lanes for channel in lane):
        new = _channel_scale(channel)
        old = found.setdefault(channel.name, new)
        low, high = min(old.low, new.low), max(old.high, new.high)
        ticks = _SPACED[old.spacing](low, high) if old.spacing in _SPACED else _ticks(low, high, old.centre)
        found[channel.name] = replace(old, low=low, high=high, ticks=ticks)
    return tuple(found.values())


def _channel_scale(channel: Channel) -> Scale:
    ramps = _ramps(_SEQUENTIAL if channel.centre is None else _COOL_NEUTRAL_HOT)
    return Scale(
        channel.name, channel.title, channel.unit, channel.low, channel.high, (), ("", ""), *ramps, channel.centre,
        channel.words, channel.help, channel.spacing, channel.counts,
    )  # fmt: skip


def _ticks(low: float, high: float, centre: float | None) -> tuple[float, ...]:
    """Both ends, the centre, and round values at least half a round step from them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    ticks = [low, high] if centre is None else [low, centre, high]
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        if all(abs(number * step - tick) >= 0.5 * step for tick in ticks):
            ticks.append(round(number * step, 9))
    return tuple(sorted(ticks))


def _decades(low: float, high: float) -> tuple[float, ...]:
    """Both ends, and the powers of ten between them."""
    powers = range(math.floor(math.log10(low)) + 1, math.ceil(math.log10(high)))
    return (low, *(10.0**power for power in powers), high)


def _nines(low: float, high: float) -> tuple[float, ...]:
    """Both ends, and a half and the nines between them."""
    return (low, *(tick for tick in (0.5, 0.9, 0.99) if low < tick < high), high)


_SPACED = {"log": _decades, "nines": _nines}


def luminance(colour: str) -> float:
    """WCAG relative luminance of a #rrggbb colour."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
