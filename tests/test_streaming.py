"""A page in Chromium while tokens stream: slowed, hidden, beside others, and when messages are lost. Counts, never times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.ui.wire import Batcher
from tests.scripted import WORDS, ScriptedParts
from tests.serving import Tab, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings(
        "ignore:.*:pytest.PytestUnraisableExceptionWarning"
    ),  # Gradio leaves its event loop open
]
SLOWED = 6
DRAWN = (
    "[...document.querySelectorAll('#compare-board .pg-lane')].map(lane =>"
    " [...lane.querySelectorAll('.pg-token')].map(span => span.textContent))"
)
COLOURLESS = "[...document.querySelectorAll('#compare-board .pg-token')].filter(s => !s.style.backgroundColor).length"
COUNT = "document.querySelectorAll('#compare-board .pg-token').length"
DONE = "document.querySelectorAll('#compare-board .pg-figures dt').length > 0"


def script(tokens: int) -> tuple[tuple[str, ...], ...]:
    """Four different lanes of so many tokens, each with its place in it, some of several lines."""
    return tuple(tuple(f"{lane}.{i}{WORDS[i % len(WORDS)]}" for i in range(tokens)) for lane in range(4))


def open_page(page: Page, url: str, lanes: int = 2, length: int = 512) -> None:
    page.goto(url)
    page.wait_for_selector("#generate")
    for _ in range(lanes - 2):
        page.click(".pg-add")
    page.wait_for_function("n => document.querySelectorAll('.pg-specinput').length === n", arg=lanes)
    page.fill("#length input[type=number]", str(length))
    page.press("#length input[type=number]", "Tab")


@contextmanager
def slowed(page: Page) -> Iterator[None]:
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
    yield
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})


def until(condition: Callable[[], Any]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.parametrize(("passes", "tokens"), [(50, 256), (200, 512)], ids=["200 a second", "800 a second"])
def test_a_slowed_page_draws_every_token_of_four_lanes_in_order(
    page: Page, settings: Settings, passes: int, tokens: int
) -> None:
    parts = ScriptedParts(settings, texts=script(tokens), pause=1 / passes)
    with served(parts) as server:
        open_page(page, server.url, lanes=4)
        page.evaluate(
            "window.writes = 0; new MutationObserver(records => {"
            " writes += records.filter(r => [...r.addedNodes].some(n => n.classList?.contains('pg-token'))).length;"
            "}).observe(document.querySelector('#compare-board'), {childList: true, subtree: true})"
        )
        with slowed(page):
            page.click("#generate")
            page.wait_for_function(DONE, timeout=120_000)
        assert page.evaluate(DRAWN) == [list(lane) for lane in script(tokens)]
        assert page.evaluate(COLOURLESS) == 0
        assert page.evaluate("writes") < 4 * tokens / 2  # many tokens a write: frames draw, not tokens
        page.get_by_role("radio", name="Entropy").click()
        assert page.evaluate(COLOURLESS) == 0
    assert page.problems == []  # type: ignore[attr-defined]


def test_a_hidden_tab_draws_nothing_and_has_everything_when_it_is_looked_at_again(
    browser: Any, settings: Settings
) -> None:
    parts = ScriptedParts(settings, texts=script(200), pause=0.02)
    with served(parts) as server:
        tab = Tab(browser, server.url, new_window=True)
        tab.until("!!document.querySelector('#generate') && !!document.querySelector('.pg-specinput')")
        time.sleep(1)  # Gradio binds its events after it has drawn the page
        tab.evaluate("document.querySelector('#generate').click()")
        tab.until(f"{COUNT} > 20")
        other = Tab(browser, "about:blank")
        other.to_front()
        tab.until("document.visibilityState === 'hidden'")
        before = tab.evaluate(COUNT)
        until(lambda: parts.closed)
        time.sleep(0.5)
        assert tab.evaluate(COUNT) == before < 2 * 128
        tab.to_front()
        tab.until(DONE)
        assert tab.evaluate(DRAWN) == [list(lane[:128]) for lane in script(200)[:2]]
        assert tab.evaluate(COLOURLESS) == 0
        for one in (tab, other):
            one.close()


def test_a_tab_that_was_hidden_for_a_while_goes_on_where_it_was(browser: Any, settings: Settings) -> None:
    parts = ScriptedParts(settings, texts=script(200), pause=0.04)
    with served(parts) as server:
        tab = Tab(browser, server.url, new_window=True)
        tab.until("!!document.querySelector('#generate') && !!document.querySelector('.pg-specinput')")
        time.sleep(1)
        tab.evaluate("document.querySelector('#generate').click()")
        other = Tab(browser, "about:blank")
        for _ in range(3):
            other.to_front()
            tab.until("document.visibilityState === 'hidden'")
            time.sleep(0.4)
            tab.to_front()
            tab.until("document.visibilityState === 'visible'")
            time.sleep(0.2)
        assert not parts.closed
        tab.until(DONE)
        assert tab.evaluate(DRAWN) == [list(lane[:128]) for lane in script(200)[:2]]
        for one in (tab, other):
            one.close()


def test_lost_messages_cost_no_token(page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    delta, made, asked = Batcher.delta, [], []

    def losing(batcher: Batcher) -> Any:
        message = delta(batcher)
        made.append(message)
        return message if len([m for m in made if m]) % 3 == 0 else None

    monkeypatch.setattr(Batcher, "delta", losing)
    page.on("request", lambda request: asked.append(request.url) if "component_server" in request.url else None)
    parts = ScriptedParts(settings, texts=script(128), pause=0.02)
    with served(parts) as server:
        open_page(page, server.url)
        page.click("#generate")
        page.wait_for_function(DONE)
        assert page.evaluate(DRAWN) == [list(lane) for lane in script(128)[:2]]
    assert asked
    assert page.problems == []  # type: ignore[attr-defined]


def test_two_visitors_stream_side_by_side_and_a_closed_tab_frees_its_run(
    page: Page, browser: Any, settings: Settings
) -> None:
    parts = ScriptedParts(settings, texts=script(120), pause=0.03)
    others = [browser.new_page() for _ in range(2)]
    with served(parts) as server:
        for one in (page, *others):
            open_page(one, server.url)
        for one in (page, *others):
            one.click("#generate")
        others[1].wait_for_function(f"{COUNT} > 8")
        others[1].close()
        until(lambda: parts.closed)
        (passes,) = parts.closed
        assert passes < 60
        for one in (page, others[0]):
            one.wait_for_function(DONE)
            assert one.evaluate(DRAWN) == [list(lane) for lane in script(120)[:2]]
        others[0].close()
    assert page.problems == []  # type: ignore[attr-defined]


def test_generate_begins_anew_whether_stop_was_pressed_at_the_same_instant_or_not(
    page: Page, settings: Settings
) -> None:
    gate = threading.Event()  # so that no run is over before a slow page has looked at it
    parts = ScriptedParts(settings, texts=script(60), pause=0.03, hold={8: gate})
    with served(parts) as server:
        open_page(page, server.url)
        for presses in (("#stop", "#generate"), ("#generate",), ("#regenerate",), ("#stop", "#generate", "#generate")):
            gate.clear()
            page.click("#generate")
            page.wait_for_function(f"!({DONE}) && {COUNT} > 4")
            page.evaluate("document.querySelector('#compare-board .pg-lane').id = 'the-run-before'")
            page.evaluate("names => names.forEach(name => document.querySelector(name).click())", list(presses))
            gate.set()
            page.wait_for_selector("#the-run-before", state="detached")
            page.wait_for_function(f"{DONE} && {COUNT} === 120")  # of two begun at once, the first may show its end
            assert page.evaluate(DRAWN) == [list(lane) for lane in script(60)[:2]], presses
            page.wait_for_selector("#compare-after >> visible=true")
    assert page.problems == []  # type: ignore[attr-defined]


def test_whoever_waits_reads_who_is_before_and_stop_gives_the_place_up(
    page: Page, browser: Any, settings: Settings
) -> None:
    parts = ScriptedParts(settings, texts=script(100), pause=0.05, visitors=False)
    second, third = browser.new_page(), browser.new_page()
    with served(parts) as server:
        for one in (page, second, third):
            open_page(one, server.url)
        page.click("#generate")
        page.wait_for_function(f"{COUNT} > 2")
        second.click("#generate")
        second.get_by_text("you are next").wait_for()
        third.click("#generate")
        third.get_by_text("one visitor is before you").wait_for()
        second.click("#stop")
        third.get_by_text("you are next").wait_for()
        second.wait_for_selector("#compare-board .pg-empty >> visible=true")
        page.click("#stop")
        third.wait_for_function(f"{COUNT} > 2")
        assert third.get_by_text("you are next").count() == 0
        third.wait_for_function(DONE)
        assert third.evaluate(DRAWN) == [list(lane) for lane in script(100)[:2]]
        assert len(parts.closed) == 2
        for one in (second, third):
            one.close()
    assert page.problems == []  # type: ignore[attr-defined]


def test_the_header_says_the_precision_and_why(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings)
    with served(parts) as server:
        page.goto(server.url)
        line = page.locator(".pg-header summary[title]")
        line.wait_for()
        assert line.inner_text().startswith("scripted · revision r0 · float32 · cpu")
        reason = page.get_by_text(parts.language_model.precision_reason)
        assert not reason.is_visible()
        line.press("Enter")
        assert reason.is_visible()
    assert page.problems == []  # type: ignore[attr-defined]
