"""Headless Chromium on a slowed processor: how much of what was sent a page shows, how late, and what that costs it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATH = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WATCH = """
window.watched = {frames: 0, marks: [], long: []};
new PerformanceObserver(l => l.getEntries().forEach(e => watched.long.push(e.duration))).observe({entryTypes: ["longtask"]});
window.watch_units = (count) => {
  Object.assign(watched, {frames: 0, marks: [], long: []});
  let last = 0;
  const look = () => {
    const shown = count();
    watched.frames += 1;
    if (shown !== last) watched.marks.push([performance.timeOrigin + performance.now(), (last = shown)]);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
};
"""


@dataclass(frozen=True)
class Seen:
    """`shown` units at the end; seconds from a pass's tokens to their frame, at the median and for the last; milliseconds
    of main-thread time; tasks of 50 ms and more; the longest of them; frames a second."""

    shown: int
    late: float
    last_late: float
    busy_share: float
    long_tasks: int
    longest: float
    frames: float


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser. Raises ImportError or playwright's Error where Playwright or Chromium is missing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=list(FLAGS))
        yield browser
        browser.close()


def watched(
    browser: Any,
    url: str,
    prepare: Callable[[Any], None],
    units: str,
    done: Callable[[], Sequence[tuple[float, int]]],
    slowed: int,
) -> Seen:
    """Presses Generate on the page at `url` and watches until all is sent and shown.

    `prepare` sets the page up, unslowed. `units` is a JavaScript function that counts what is shown. `done` waits for the
    decoder's end and gives (wall-clock second, units sent by then) of every pass.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    session = context.new_cdp_session(page)
    page.goto(url)
    page.wait_for_selector("#generate")
    prepare(page)
    page.wait_for_timeout(1000)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
    page.evaluate(f"watch_units({units})")
    busy, began = _busy(session), page.evaluate("performance.now()")
    page.click("#generate")
    sent = done()
    page.wait_for_function(f"n => ({units})() >= n", arg=sent[-1][1], timeout=300_000)
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    seconds = (page.evaluate("performance.now()") - began) / 1000
    share = (_busy(session) - busy) / seconds
    found, shown = page.evaluate("watched"), page.evaluate(f"({units})()")
    context.close()
    late = _lateness(sent, found["marks"])
    long = found["long"]
    return Seen(
        shown, statistics.median(late), late[-1], share, len(long), max(long, default=0.0), found["frames"] / seconds
    )


def _busy(session: Any) -> float:
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def _lateness(sent: Sequence[tuple[float, int]], marks: Sequence[Sequence[float]]) -> list[float]:
    """Seconds from each pass to the first frame that shows all that was sent by then."""
    late, place = [], 0
    for second, units in sent:
        while marks[place][1] < units:
            place += 1
        late.append(marks[place][0] / 1000 - second)
    return late
