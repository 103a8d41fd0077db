"""Overlays in Chromium: what a lane shows first, what stays chosen, and charts that follow and point at tokens."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import Any

import pytest
from playwright.sync_api import Page, TimeoutError

from playground.config import Settings
from playground.ui.runs import Run
from tests.scripted import WORDS, ScriptedParts, channels, measured_catalogue, step
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
TITLES = ".pg-chart .js-plotly-plot .gtitle"


def run(page: Page, *specs: str) -> None:
    for lane, spec in enumerate(specs):
        line = page.locator(".pg-specinput").nth(lane)
        for _ in range(4):  # a page that still loads may draw its lines anew
            line.fill(spec)
            line.press("Tab")
            with contextlib.suppress(TimeoutError):
                page.wait_for_function(
                    "([i, s]) => document.querySelectorAll('.pg-specinput')[i].value === s",
                    arg=[lane, spec],
                    timeout=8000,
                )
                break
        assert line.input_value() == spec
    before = (
        page.locator("#compare-board .pg-lane").first.element_handle(timeout=1000)
        if page.locator(".pg-lane").count()
        else None
    )
    page.click("#generate")
    if before:
        page.wait_for_function("lane => !lane.isConnected", arg=before)
    page.wait_for_selector("#compare-board .pg-figures dt")


def chosen(page: Page) -> str:
    return page.locator("#compare-board [role=radio][aria-checked=true]").inner_text()


def colours(page: Page, lane: int) -> set[str]:
    tokens = page.locator(f'#compare-board [data-lane="{lane}"] .pg-token')
    return set(tokens.evaluate_all("spans => spans.map(s => s.style.backgroundColor)"))


def first_title(page: Page, title: str) -> None:
    page.wait_for_function(
        "([q, t]) => document.querySelector(q)?.textContent.startsWith(t)", arg=[TITLES, f"{title} by position"]
    )


def varied(spec: str, position: int) -> dict[str, float]:
    """What a cut leaves, a little different at every token."""
    found = channels(spec, position)
    return (
        {**found, "kept_mass": 0.5 + position % 5 / 10, "kept_tokens": 2.0 + position % 30}
        if "min_p=0." in spec and "min_p=0.0" not in spec
        else found
    )


def test_a_lane_whose_temperature_never_varies_shows_what_its_policy_does(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.scripted.channels", varied)
    with served(ScriptedParts(settings, texts=(WORDS * 2,))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, "fixed:min_p=0.1", "fixed:min_p=0.2")
        assert chosen(page) == "Candidates"
        assert len(colours(page, 0)) > 5
        first_title(page, "Candidates")
        run(page, "adaptive-token", "fixed:min_p=0.1")
        assert chosen(page) == "Each its own"
        assert min(len(colours(page, 0)), len(colours(page, 1))) > 3
        legend = page.locator("#compare-board .pg-key")
        assert [key.inner_text().split("\n")[0] for key in legend.all()] == ["Temperature", "Candidates"]
        notes = page.locator("#compare-board .pg-without >> visible=true").all_inner_texts()
        assert notes == ["by Temperature", "by Candidates"]
        run(page, "adaptive-token", "fixed:temperature=0.7")
        assert chosen(page) == "Temperature"
        page.get_by_role("radio", name="Entropy").click()
        first_title(page, "Entropy")
        run(page, "fixed:min_p=0.1", "adaptive-token")  # what the visitor chose stays
        assert chosen(page) == "Entropy"
        first_title(page, "Entropy")
        page.get_by_role("radio", name="Kept mass").click()
        first_title(page, "Kept mass")
        assert colours(page, 1) == {""}
    assert page.problems == []  # type: ignore[attr-defined]


def test_charts_and_tokens_point_at_each_other(page: Page, settings: Settings) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    with served(ScriptedParts(settings, texts=(WORDS * 2,))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, "edt", "fixed:temperature=0.7")
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
        for _ in range(50):  # a chart is still laid out for a while after it is there
            area: Any = page.locator(".pg-chart .nsewdrag").first.bounding_box()
            page.mouse.move(area["x"] + 5, area["y"] + area["height"] / 2)
            page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=4)
            page.wait_for_timeout(200)
            if page.locator(".pg-pointed").count():
                break
        page.wait_for_selector(".pg-pointed")
        marked = page.locator("#compare-board .pg-pointed").evaluate_all(
            "all => all.map(s => [s.closest('.pg-lane').dataset.lane, [...s.closest('.pg-text').querySelectorAll('.pg-token')].indexOf(s)])"
        )
        place = marked[0][1]
        assert sorted(marked) == [["0", place], ["1", place]]
        label = page.locator(".pg-chart .hoverlayer").first.text_content() or ""
        assert (WORDS * 2)[place].strip() in label
        assert label.startswith(str(place + 1))  # tokens are counted as on the card
        page.mouse.move(5, 5)
        page.wait_for_function("document.querySelectorAll('.pg-pointed').length === 0")
        page.locator('#compare-board [data-lane="0"] .pg-token').nth(5).click()  # " the"
        page.wait_for_function(
            "[...document.querySelectorAll('.pg-chart .hoverlayer')].every(l => l.textContent.includes('␣the'))"
        )
        assert "token 6" in page.locator(".pg-card >> visible=true").inner_text()
        assert (page.locator(".pg-chart .hoverlayer").first.text_content() or "").startswith("6")
        page.keyboard.press("Escape")
        page.wait_for_function(
            "[...document.querySelectorAll('.pg-chart .hoverlayer')].every(l => l.textContent === '')"
        )
    assert page.problems == []  # type: ignore[attr-defined]


def test_charts_have_no_buttons_no_links_and_no_stops(page: Page, settings: Settings) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
        assert page.locator(".pg-chart :is(a, button, [tabindex])").count() == 0
        assert page.locator("a[href*=plotly]").count() == 0


@pytest.mark.parametrize("text", ["<a href='http://evil'>x</a>", "<b>bold</b>", "${window.broken=1}"])
def test_a_chart_writes_a_token_as_text_whatever_it_spells(page: Page, settings: Settings, text: str) -> None:
    with served(ScriptedParts(settings, texts=((text,) * 6,))) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
        page.locator("#compare-board .pg-token").nth(2).click()
        page.wait_for_function("document.querySelector('.pg-chart .hoverlayer').textContent.length > 3")
        assert text.replace(" ", "␣") in (page.locator(".pg-chart .hoverlayer").first.text_content() or "")
        assert page.locator(".pg-chart .hoverlayer a").count() == 0
        assert page.evaluate("window.broken") is None


def test_long_runs_are_smoothed_and_say_so(page: Page, settings: Settings) -> None:
    assert step(0, "x").entropy != step(1, "x").entropy
    with served(ScriptedParts(settings, texts=(WORDS * 14, WORDS))) as server:
        page.goto(server.url)
        page.fill("#length input[type=number]", "256")
        page.press("#length input[type=number]", "Tab")
        page.click("#generate")
        first_title(page, "Temperature")
        page.wait_for_function("q => document.querySelector(q).textContent.includes('mean of 21 tokens')", arg=TITLES)
        faint = (
            page.locator(".pg-chart .scatterlayer")
            .first.locator(".trace")
            .evaluate_all("t => t.map(x => x.style.opacity)")
        )
        assert "0.3" in faint


def offered(page: Page) -> list[str]:
    return page.locator("#compare-board [role=radio]").all_inner_texts()


def test_no_overlay_and_no_chart_is_offered_without_a_value(page: Page, settings: Settings) -> None:
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        for spec in ("difficulty-router:preset=easy", "fixed:min_p=0.1"):  # no probe asked; no cut recorded here
            run(page, spec, "fixed:temperature=0.7")
            assert offered(page)[-4:] == ["Temperature", "Entropy", "Surprisal", "None"]
            page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
        assert chosen(page) == "Each its own"
        assert len(colours(page, 0)) > 3
    assert page.problems == []  # type: ignore[attr-defined]


def test_a_channel_that_never_varied_gives_way_to_one_that_did(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.scripted.channels", lambda spec, i: {"kept_tokens": 1.0, "kept_mass": i % 7 / 10})
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, "fixed:min_p=1.0", "fixed:min_p=0.9")
        assert chosen(page) == "Kept mass"
        first_title(page, "Kept mass")
        page.get_by_role("radio", name="Candidates").click()  # whoever asks for it gets it
        first_title(page, "Candidates")


def test_a_run_stopped_before_its_first_token_has_no_chart_and_is_called_stopped(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, stopped, cancel = threading.Event(), threading.Event(), Run.cancel

    def cancelled(run: Run, *how: Any) -> None:
        cancel(run, *how)
        stopped.set()

    monkeypatch.setattr(Run, "cancel", cancelled)
    with served(ScriptedParts(settings, texts=(WORDS,), hold={0: hold})) as server:
        page.goto(server.url)
        page.click("#generate")
        stop = page.locator("#compare-board .pg-stop")
        stop.focus()
        page.locator("#compare-board .pg-lane").first.wait_for()
        stopped.clear()
        stop.press("Enter")
        assert stopped.wait(30)
        hold.set()
        page.wait_for_selector("#compare-board .pg-figures dt")
        page.wait_for_selector("#compare-no-vote >> visible=true")
        assert page.locator(".pg-chart .js-plotly-plot >> visible=true").count() == 0
        live = page.locator("#compare-board [aria-live=polite]")
        assert live.text_content() == "Lane 1 stopped, 0 tokens. Lane 2 stopped, 0 tokens."
        assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"
        page.click("#generate")
        page.wait_for_function(
            "q => document.querySelector(q).textContent.startsWith('Lane 1 finished, 16')",
            arg="#compare-board [aria-live=polite]",
        )
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
    assert page.problems == []  # type: ignore[attr-defined]


def test_what_is_said_of_a_run_is_gone_when_the_next_one_begins(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings, texts=(WORDS,))
    with served(parts) as server:
        page.goto(server.url)
        page.click("#generate")
        live = page.locator("#compare-board [aria-live=polite]")
        live.filter(has_text="Lane 1 finished").wait_for(state="attached")
        parts.hold = {2: threading.Event()}
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-running .pg-token")
        assert live.text_content() == ""
        parts.hold[2].set()
        live.filter(has_text="Lane 1 finished").wait_for(state="attached")


def test_a_chart_names_kinds_by_their_words(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings, texts=(WORDS,), catalogue=measured_catalogue())
    with served(parts) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, "measured", "fixed:temperature=0.7")
        page.get_by_role("radio", name="Author").click()
        first_title(page, "Author")
        page.locator('#compare-board [data-lane="0"] .pg-token').nth(3).click()
        page.wait_for_function("document.querySelector('.pg-chart .hoverlayer').textContent.includes('large model')")
        assert "Lane 1 : large model  ␣time" in (page.locator(".pg-chart .hoverlayer").first.text_content() or "")


def distances(page: Page, lane: int) -> list[float]:
    """How far the background of each token lies from the next one's, from 0 to 255 a channel."""
    tokens = page.locator(f'#compare-board [data-lane="{lane}"] .pg-token')
    found = tokens.evaluate_all("all => all.map(s => s.style.backgroundColor.match(/\\d+/g).map(Number))")
    return [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(found)]


@pytest.mark.parametrize(
    ("spec", "name", "values"),
    [  # the least, the quartiles and the most that the shipped model keeps under such a cut
        ("fixed:temperature=0.3,top_k=5", "kept_mass", (0.83, 0.984, 0.9999)),
        ("fixed:top_k=40", "kept_mass", (0.58, 0.82, 0.93, 0.976, 0.994, 1.0)),
        ("fixed:min_p=0.1", "kept_tokens", (1.0, 3.0, 5.0, 12.0, 43.0)),
        ("fixed:temperature=1.2,top_p=0.99", "kept_tokens", (3.0, 11.0, 169.0, 1162.0)),
    ],
)
def test_what_a_cut_leaves_is_told_apart_by_colour(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch, spec: str, name: str, values: tuple[float, ...]
) -> None:
    other = {"kept_mass": "kept_tokens", "kept_tokens": "kept_mass"}[name]
    monkeypatch.setattr("tests.scripted.channels", lambda spec, i: {name: values[i], other: 1.0})
    with served(ScriptedParts(settings, texts=(WORDS[: len(values)],))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, spec, spec)
        assert chosen(page) == {"kept_mass": "Kept mass", "kept_tokens": "Candidates"}[name]
        assert min(distances(page, 0)) >= 8


def test_the_texts_of_lanes_begin_side_by_side_whatever_is_said_above_them(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.scripted.channels", varied)
    page.set_viewport_size({"width": 1280, "height": 800})
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        run(page, "fixed:min_p=0.1,temperature=0.7,top_k=400", "edt")
        for overlay in (None, "Kept mass", "Temperature"):
            if overlay:
                page.get_by_role("radio", name=overlay).click()
            tops = page.locator("#compare-board .pg-text").evaluate_all(
                "all => all.map(t => t.getBoundingClientRect().top)"
            )
            assert tops[0] == tops[1], overlay


def test_the_table_counts_tokens_as_their_cards_do(page: Page, settings: Settings) -> None:
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        page.locator("#compare-board summary").first.click()
        page.wait_for_selector("#compare-board tbody tr")
        numbers = page.locator('#compare-board [data-lane="0"] tbody td:first-child').all_inner_texts()
        assert numbers == [str(i + 1) for i in range(len(WORDS))]
