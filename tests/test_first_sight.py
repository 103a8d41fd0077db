"""What a newcomer meets first: the button that starts, few stops before it, its key, and the words explained."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.glossary import WORDS
from tests.scripted import ScriptedParts
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
SIZES = ((1280, 800), (390, 844), (640, 400))  # the last is 1280 × 800 at 200 % zoom
MOST_STOPS = 8


def stops_until(page: Page, button: str) -> int:
    """How many times Tab is pressed from the top of the page until the button has the focus."""
    for pressed in range(1, 80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == button:
            return pressed
    raise AssertionError(f"#{button} was not reached")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_generate_is_on_the_first_screen_behind_few_stops(
    page: Page, settings: Settings, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        box = page.locator("#generate").bounding_box()
        assert box
        assert box["y"] + box["height"] <= size[1]
        assert stops_until(page, "generate") <= MOST_STOPS


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_battle_is_on_the_first_screen_behind_few_stops(page: Page, settings: Settings, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        page.get_by_role("tab", name="Arena").click()
        page.click("#arena-agree")
        page.wait_for_selector("#battle >> visible=true")
        box = page.locator("#battle").bounding_box()
        assert box
        assert box["y"] + box["height"] <= size[1]
        page.get_by_role("tab", name="Arena").focus()
        assert stops_until(page, "battle") <= MOST_STOPS


@pytest.mark.parametrize(("width", "lines"), [(1280, 2), (1000, 2), (820, 2), (640, 3)])
def test_the_introduction_has_the_width_of_the_page(page: Page, settings: Settings, width: int, lines: int) -> None:
    parts = ScriptedParts(settings)
    parts.language_model.name = "an-owner/a-model-with-a-long-name-of-its-own-135M-Instruct"
    parts.language_model.revision = "a-revision-with-a-long-hash-0123456789abcdef"
    page.set_viewport_size({"width": width, "height": 800})
    with served(parts) as server:
        page.goto(server.url)
        lead = page.locator(".pg-header .pg-lead")
        assert lead.evaluate("p => Math.round(p.offsetHeight / parseFloat(getComputedStyle(p).lineHeight))") <= lines
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_gallery_is_two_stops_and_arrows_move_in_it(page: Page, settings: Settings) -> None:
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        for group in (".pg-families", ".pg-chips"):
            buttons = page.locator(f"#compare-gallery {group} button")
            buttons.first.wait_for()
            assert buttons.evaluate_all("all => all.filter(b => b.tabIndex === 0).length") == 1
        page.locator("#compare-gallery .pg-family").first.focus()
        page.keyboard.press("ArrowRight")
        family = page.evaluate("document.activeElement.textContent")
        assert family == page.locator("#compare-gallery .pg-family").nth(1).text_content()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("End")
        chosen = page.evaluate("document.activeElement.title")
        assert chosen == page.locator("#compare-gallery .pg-chip").last.get_attribute("title")
        page.keyboard.press("Enter")
        page.wait_for_function("text => document.querySelector('#compare-prompt textarea').value === text", arg=chosen)


@pytest.mark.parametrize("key", ["Control+Enter", "Meta+Enter"])
def test_the_key_in_the_prompt_starts_in_compare_and_in_the_arena(page: Page, settings: Settings, key: str) -> None:
    parts = ScriptedParts(settings)
    with served(parts) as server:
        page.goto(server.url)
        page.fill("#compare-prompt textarea", "Name three birds.")
        page.locator("#compare-prompt textarea").press(key)
        page.wait_for_selector("#compare-board .pg-figures dt")
        assert page.locator("#compare-prompt textarea").input_value() == "Name three birds."
        page.get_by_role("tab", name="Arena").click()
        page.click("#arena-agree")
        page.fill("#arena-prompt textarea", "Name three birds.")
        page.locator("#arena-prompt textarea").press(key)
        page.wait_for_selector("#arena-left:not([disabled])")
        for button in ("generate", "battle"):
            assert page.locator(f"#{button}").get_attribute("aria-keyshortcuts") == "Control+Enter Meta+Enter"
    assert len(parts.closed) == 2
    assert page.problems == []  # type: ignore[attr-defined]


def test_what_runs_is_brought_into_sight_and_can_be_stopped_there(page: Page, settings: Settings) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    parts = ScriptedParts(settings, pause=0.2)
    with served(parts) as server:
        page.goto(server.url)
        page.click("#generate")
        page.locator("#compare-board .pg-token").nth(4).wait_for()
        page.wait_for_function("document.querySelector('#compare-board .pg-lane').getBoundingClientRect().top < 500")
        page.get_by_role("button", name="Stop", exact=True).last.click()
        page.wait_for_selector("#compare-board .pg-figures dt")
        assert parts.closed[0] < len(parts.texts[0])
    assert page.problems == []  # type: ignore[attr-defined]


def test_the_five_words_are_explained_where_they_are_met_and_in_methods(page: Page, settings: Settings) -> None:
    assert list(WORDS) == ["token", "temperature", "entropy", "policy", "head"]
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        page.get_by_text("What do the words mean?").click()
        said = page.locator("#pg-header .pg-words")
        assert said.locator("dt").all_text_contents() == list(WORDS)
        assert said.locator("dd").all_text_contents() == list(WORDS.values())
        assert said.is_visible()
        page.get_by_role("tab", name="Methods").click()
        page.wait_for_selector(".pg-methods .pg-words >> visible=true")
        assert page.locator(".pg-methods .pg-words dd").all_text_contents() == list(WORDS.values())
