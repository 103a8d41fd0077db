"""Traces for a terminal: every token on the colour of its temperature, with a legend and one line of figures a lane."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import Any, TextIO

from playground.decoding.counts import several
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Trace
from playground.errors import PlaygroundError
from playground.methods import named

COLDEST, HOTTEST = 0.0, 1.4
RAMP = ((33, 102, 172), (146, 197, 222), (240, 240, 236), (244, 165, 130), (178, 24, 43))  # blue – pale – red, T rising
RESET = "\x1b[0m"
COMMANDING = re.compile(
    "[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)  # unescaped by JSON


def write(traces: Sequence[Trace], out: TextIO, colour: bool) -> None:
    """The lanes one under the other; with colour, a background a token and the scale above."""
    if colour:
        marks = [COLDEST + (HOTTEST - COLDEST) * i / 7 for i in range(8)]
        print("temperature " + "".join(f"{painted(f' {t:.1f} ', t)}" for t in marks), file=out)
    for lane, trace in enumerate(traces, start=1):
        print(f"\n{lane}  {label(trace.policy)}  ({figures(trace)})", file=out)
        shown = trace.shown_steps
        print("".join(painted(s.text, s.temperature) for s in shown) if colour else harmless(trace.text), file=out)


def label(policy: str) -> str:
    """The policy's name and its knobs that are not as usual; a spec of other days stays as it stands."""
    try:
        title, knobs = named(catalogue({}).parse(policy))
    except PlaygroundError:
        return policy
    return f"{title}: {knobs}" if knobs else title


def harmless(text: str) -> str:
    """`text` with a mark in place of every character that could command a terminal or reorder a line; the joiners of
    emoji and scripts stay."""
    return "".join(c if c in "\n\t\u200c\u200d" or c.isprintable() else "\ufffd" for c in text)


def lenient(*streams: TextIO) -> None:
    """Lets streams print a question mark for what their encoding has no place for, unless they were told otherwise."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def json_line(record: Any, out: TextIO) -> str:
    """`record` as one line of JSON that `out` can hold and that no terminal obeys: such characters are escaped, so that
    whoever reads it gets the same value."""
    unicode = (out.encoding or "utf-8").lower().replace("-", "").startswith("utf")
    text = json.dumps(record, ensure_ascii=not unicode, allow_nan=False)
    return COMMANDING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def painted(text: str, temperature: float) -> str:
    """`text`, made harmless, on the temperature's colour."""
    share = min(1.0, max(0.0, (temperature - COLDEST) / (HOTTEST - COLDEST))) * (len(RAMP) - 1)
    low = min(int(share), len(RAMP) - 2)
    r, g, b = (round(a + (z - a) * (share - low)) for a, z in zip(RAMP[low], RAMP[low + 1], strict=True))
    ink = "30" if 0.299 * r + 0.587 * g + 0.114 * b > 110 else "97"
    return "\n".join(
        f"\x1b[{ink};48;2;{r};{g};{b}m{line}{RESET}" if line else "" for line in harmless(text).split("\n")
    )


def figures(trace: Trace) -> str:
    """Tokens, range and mean of the temperature, mean entropy, speed."""
    if not trace.steps:
        return f"no tokens, ended by {trace.stop}"
    heat = [step.temperature for step in trace.steps]
    entropy = sum(step.entropy for step in trace.steps) / len(heat)
    spread = " to ".join(dict.fromkeys((f"{min(heat):.2f}", f"{max(heat):.2f}")))
    mean = sum(heat) / len(heat)
    return (
        f"{several(len(heat), 'token')}, T {spread}, mean {mean:.2f}, entropy {entropy:.2f} nats, "
        f"{trace.timings.get('tokens_per_second', 0.0):.1f} tokens/s, ended by {trace.stop}"
    )
