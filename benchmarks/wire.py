"""What streaming costs, server and browser, beside the usual ways of streaming with Gradio, without a model.

A prepared decoder gives four lanes one token a pass, 50 passes a second, with float32 numbers, six channels and five
alternatives. The page draws every token in its colour with all its numbers at hand; the yardsticks are a gr.HTML of
coloured spans and a gr.Textbox of bare text, each yielded whole every pass. Server: bytes of the event stream and
processor time of the process, less the decoder's own; Gradio's idle loop, some 6 % of a core, is in it on every side. Browser: Chromium slowed six times, all in
turn in one run; late is the time from a pass to the frame that shows it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from benchmarks.measure.asked import Asked
from benchmarks.measure.chromium import Seen, chromium, watched
from benchmarks.measure.machine import conditions
from benchmarks.measure.paced import SPECS, Paced
from benchmarks.measure.result import Result, Table, Value
from benchmarks.measure.rounds import Spread, ratios
from benchmarks.measure.served import OwnSeconds, Served, served
from benchmarks.yardsticks import plain_pages
from playground.config import Settings
from playground.decoding.trace import Request
from playground.ui import page

TITLE = "bytes, server time and browser time of a streamed token, beside plain Gradio"
PASSES, SLOWED = 50, 6
OURS = "this page"


@dataclass(frozen=True)
class Way:
    """One way of streaming: its page, the handler that streams, what it is called with, what it shows and how that is counted."""

    blocks: gr.Blocks
    handler: str
    data: Callable[[int], list[Any]]
    prepare: Callable[[Any, int], None]
    units: str
    size: Callable[[str], int]


def run(asked: Asked) -> Result:
    rounds, tokens = asked.size(5, 1), asked.size(256, 64)
    with tempfile.TemporaryDirectory() as folder:
        parts = Paced(Settings(data_folder=Path(folder)), PASSES)
        ways = _ways(parts)
        costs = _server(asked, parts, ways, rounds, tokens)
        seen, why_not = _browser(asked, parts, ways, asked.size(3, 1), asked.size(160, 64))
        parts.store.close()
    sent = {"lanes": len(SPECS), "tokens a second": PASSES * len(SPECS), "tokens a lane": tokens, "rounds": rounds}
    tables = [_server_table(costs), *([_browser_table(seen)] if seen else [])]
    how = {**sent, "tokens a lane in the browser": asked.size(160, 64), "slowed": SLOWED, **conditions("gradio")}
    return Result("wire", how, tables, why_not)


def _ways(parts: Any) -> dict[str, Way]:
    def ours(tokens: int) -> list[Any]:
        return ["Tell me.", "", "", "", "", 1, tokens, list(SPECS)]

    def yardstick(make: Any, one: Any, units: str, size: Callable[[str], int]) -> Way:
        blocks = plain_pages.page(parts, SPECS, make, one)
        return Way(blocks, "generate", lambda tokens: [tokens], _fill, units, size)

    spans = "() => document.getElementsByClassName('pg-token').length"
    letters = "() => [...document.querySelectorAll('.lane textarea')].reduce((n, area) => n + area.value.length, 0)"
    return {
        OURS: Way(page.build(parts), "generate", ours, _set_lanes, spans, lambda text: 1),
        "gr.HTML of spans": yardstick(gr.HTML, plain_pages.coloured, spans, lambda text: 1),
        "gr.Textbox": yardstick(
            gr.Textbox, plain_pages.plain, letters, lambda text: len(text.encode("utf-16-le")) // 2
        ),
    }


def _set_lanes(opened: Any, tokens: int) -> None:
    for _ in SPECS[2:]:
        opened.click(".pg-add")
    for lane, spec in enumerate(SPECS):
        line = opened.locator(".pg-specinput").nth(lane)
        line.fill(spec)
        line.press("Tab")
    _fill(opened, tokens)


def _fill(opened: Any, tokens: int) -> None:
    number = opened.locator("#length input[type=number]")
    number.fill(str(tokens))
    number.press("Tab")


def _server(
    asked: Asked, parts: Paced, ways: dict[str, Way], rounds: int, tokens: int
) -> dict[str, list[tuple[float, float]]]:
    """(bytes, processor microseconds) a token of every way in every round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    decoder = _decoder_seconds(parts, tokens)
    for name, way in ways.items():
        with served(way.blocks) as server:
            server.stream(way.handler, way.data(8))  # what is made once
            for _ in range(rounds):
                found[name].append(_cost(server, way, tokens, decoder))
            asked.progress(f"server, {name}: {found[name][-1][1]:.0f} µs a token")
    return found


def _decoder_seconds(parts: Paced, tokens: int) -> float:
    """Processor seconds of the prepared decoder alone."""
    began = time.thread_time()
    for _ in parts.stream(Request("Tell me.", max_tokens=tokens), SPECS):
        pass
    return time.thread_time() - began


def _cost(server: Served, way: Way, tokens: int, decoder: float) -> tuple[float, float]:
    clock = OwnSeconds()
    sent = len(server.stream(way.handler, way.data(tokens)))
    spent = clock.spent() - decoder
    count = tokens * len(SPECS)
    return sent / count, 1e6 * spent / count


def _browser(
    asked: Asked, parts: Paced, ways: dict[str, Way], rounds: int, tokens: int
) -> tuple[dict[str, list[Seen]], list[str]]:
    """What Chromium saw of every way, in turns; nothing and the reason where there is no Chromium."""
    found: dict[str, list[Seen]] = {name: [] for name in ways}
    texts = [[step.text for step in parts.steps(spec, tokens, lane)] for lane, spec in enumerate(SPECS)]
    try:
        with chromium() as browser:
            for _ in range(rounds):
                for name, way in ways.items():
                    found[name].append(_watch(browser, parts, way, texts))
                    asked.progress(f"Chromium, {name}: {found[name][-1].last_late:.2f} s late at the end")
    except ImportError as error:
        return {}, [f"The browser was not measured: {error}."]
    return found, []


def _watch(browser: Any, parts: Paced, way: Way, texts: Sequence[Sequence[str]]) -> Seen:
    tokens, ends = len(texts[0]), len(parts.closed) + 1

    def sent() -> list[tuple[float, int]]:
        while len(parts.closed) < ends:
            time.sleep(0.05)
        units, passed = 0, []
        for number, second in enumerate(parts.emitted):
            units += sum(way.size(lane[number]) for lane in texts)
            passed.append((second, units))
        return passed

    with served(way.blocks) as server:
        return watched(browser, server.url, lambda opened: way.prepare(opened, tokens), way.units, sent, SLOWED)


def _server_table(costs: dict[str, list[tuple[float, float]]]) -> Table:
    columns = {"way": ""}
    rows: list[dict[str, Value]] = [{"way": name} for name in costs]
    for place, (title, form) in enumerate((("bytes a token", ".0f"), ("server µs a token", ".0f"))):
        columns |= {title: form, f"{title}, ratio": ".1f"}
        ours = [cost[place] for cost in costs[OURS]]
        for row, found in zip(rows, costs.values(), strict=True):
            own = [cost[place] for cost in found]
            row |= {title: Spread.of(own), f"{title}, ratio": ratios(own, ours)}
    return Table("Server (ratios to this page)", columns, rows)


def _browser_table(seen: dict[str, list[Seen]]) -> Table:
    columns = {
        "shown": ".0f", "late": ".2f", "last_late": ".2f", "busy_share": ".2f", "long_tasks": ".0f", "longest": ".0f",
        "frames": ".0f",
    }  # fmt: skip
    titles = {
        "shown": "shown at the end", "late": "late, s", "last_late": "last token late, s", "busy_share": "main thread busy",
        "long_tasks": "tasks ≥ 50 ms", "longest": "longest, ms", "frames": "frames a second",
    }  # fmt: skip
    rows: list[dict[str, Value]] = [
        {"way": name, **{titles[own]: Spread.of([float(getattr(one, own)) for one in found]) for own in columns}}
        for name, found in seen.items()
    ]
    return Table("Browser", {"way": "", **{titles[own]: form for own, form in columns.items()}}, rows)


if __name__ == "__main__":
    made = run(Asked())
    print(f"{made.text()}\n\n{made.line()}")
