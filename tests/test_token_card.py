"""The card of a token on every screen: it fits or scrolls, leaves its token in sight, pins, and closes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from tests.scripted import WORDS, ScriptedParts, measured_catalogue
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
SCREENS = (
    (1280, 800),
    (640, 400),
    (390, 844),
    (375, 667),
    (320, 568),
    (320, 200),
)  # 640 × 400 is 200 % zoom, the last 400 %
BOXES = """() => {
  const [card, token] = [document.querySelector('.pg-card:not([hidden])'), document.querySelector('.pg-current')];
  const box = (node) => node.getBoundingClientRect().toJSON();
  return { card: box(card), token: box(token), seen: card.clientHeight, whole: card.scrollHeight };
}"""
TOKENS = (0, 9, 30, 55)


@pytest.fixture
def run(page: Page, settings: Settings) -> Iterator[Page]:
    """Compare after a run of some lines, one lane with channels of its own."""
    parts = ScriptedParts(settings, texts=(WORDS * 4,), catalogue=measured_catalogue())
    with served(parts) as server:
        page.emulate_media(reduced_motion="reduce")
        page.goto(server.url)
        page.wait_for_selector("#generate")
        line = page.locator(".pg-specinput").first
        line.fill("measured")
        line.press("Tab")
        page.wait_for_function("document.querySelector('.pg-kind').value === 'measured'")
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        yield page


def token(page: Page, place: int, lane: int = 0) -> Any:
    return page.locator(f'#compare-board [data-lane="{lane}"] .pg-token').nth(place)


def boxes(page: Page) -> Any:
    page.wait_for_selector(".pg-candidates >> visible=true")
    page.wait_for_timeout(150)
    return page.evaluate(BOXES)


def apart(first: dict[str, float], second: dict[str, float]) -> bool:
    return (
        first["right"] <= second["left"]
        or second["right"] <= first["left"]
        or first["bottom"] <= second["top"]
        or second["bottom"] <= first["top"]
    )


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_a_pinned_card_fits_or_scrolls_and_leaves_its_token_in_sight(run: Page, screen: tuple[int, int]) -> None:
    run.set_viewport_size({"width": screen[0], "height": screen[1]})
    for place in TOKENS:
        at = token(run, place)
        at.evaluate("span => span.scrollIntoView({block: 'center'})")
        at.click(position={"x": 2, "y": 8})
        found = boxes(run)
        assert found["card"]["left"] >= 0
        assert found["card"]["top"] >= 0
        assert found["card"]["right"] <= screen[0]
        assert found["card"]["bottom"] <= screen[1]
        assert apart(found["card"], found["token"]), found
        if found["whole"] > found["seen"] + 1:
            run.mouse.move(found["card"]["left"] + 40, found["card"]["bottom"] - 20)
            run.mouse.wheel(0, 4000)
            run.wait_for_timeout(200)
            end = run.locator(".pg-card >> visible=true").evaluate(
                "c => c.scrollTop + c.clientHeight >= c.scrollHeight - 1"
            )
            assert end
        run.keyboard.press("Escape")
        assert run.locator(".pg-card >> visible=true").count() == 0


def test_a_card_that_is_pointed_at_leaves_its_token_in_sight_too(run: Page) -> None:
    for place in TOKENS:
        at = token(run, place, lane=1)
        at.evaluate("span => span.scrollIntoView({block: 'center'})")
        at.hover(position={"x": 2, "y": 8})
        found = boxes(run)
        assert apart(found["card"], found["token"]), found
        run.mouse.move(5, 5)
        run.wait_for_selector(".pg-card", state="hidden")


def test_a_click_pins_the_card_until_escape_its_button_or_another_click(run: Page) -> None:
    card = run.locator(".pg-card >> visible=true")
    token(run, 3).click()
    boxes(run)
    run.mouse.move(5, 5)
    run.wait_for_timeout(400)
    assert "token 4" in card.inner_text()
    token(run, 5).hover()
    run.wait_for_timeout(300)
    assert "token 4" in card.inner_text()  # what is pinned stays while others are pointed at
    token(run, 2).click()
    card.filter(has_text="token 3").wait_for()
    token(run, 2).click()
    card.wait_for(state="hidden")
    for shut in (
        lambda: run.keyboard.press("Escape"),
        lambda: run.get_by_role("button", name="Close the card").click(),
        lambda: run.locator("#compare-board .pg-legend").click(),
    ):
        token(run, 1).click()
        boxes(run)
        shut()
        card.wait_for(state="hidden")


def test_the_keyboard_pins_enters_scrolls_and_leaves_the_card(run: Page) -> None:
    run.set_viewport_size({"width": 640, "height": 400})
    token(run, 0).focus()
    run.keyboard.press("ArrowRight")
    card = run.locator(".pg-card >> visible=true")
    card.filter(has_text="token 2").wait_for()
    run.keyboard.press("Enter")
    boxes(run)
    assert run.evaluate("document.activeElement.className").split() == ["pg-card", "pg-pinned"]
    assert card.get_attribute("role") == "dialog"
    assert card.get_attribute("aria-label") == "Lane 1, token 2"
    for _ in range(3):
        run.keyboard.press("PageDown")
    run.wait_for_function("document.querySelector('.pg-pinned').scrollTop > 0")
    run.keyboard.press("Tab")
    assert run.evaluate("document.activeElement.className") == "pg-close"
    run.keyboard.press("Tab")
    assert "pg-current" in run.evaluate("document.activeElement.className")
    run.keyboard.press("ArrowRight")
    card.filter(has_text="token 3").wait_for()  # a pinned card goes with the focus
    run.keyboard.press("Enter")
    run.keyboard.press("Escape")
    card.wait_for(state="hidden")
    assert run.evaluate("document.activeElement === document.querySelectorAll('#compare-board .pg-token')[2]")


def test_a_tap_pins_and_a_scroll_of_the_page_keeps_the_card(browser: Any, settings: Settings) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    page = context.new_page()
    with served(ScriptedParts(settings, texts=(WORDS * 4,))) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        token(page, 12).tap()
        boxes(page)
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(400)
        found = page.evaluate(BOXES)
        assert found["card"]["top"] >= 0
        assert found["card"]["bottom"] <= 667
        page.get_by_role("button", name="Close the card").tap()
        page.locator(".pg-card >> visible=true").wait_for(state="hidden")
    context.close()


def test_only_what_was_tapped_is_outlined(browser: Any, settings: Settings) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    page = context.new_page()
    outlined = "all => all.filter(t => getComputedStyle(t).boxShadow !== 'none').map(t => t.textContent)"
    with served(ScriptedParts(settings, texts=(WORDS * 4,))) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        for place in (12, 4):
            token(page, place).tap()
            boxes(page)
            token(page, 8).hover()  # a browser leaves a finger's :hover where it was
            assert page.locator("#compare-board .pg-token").evaluate_all(outlined) == [WORDS[place]]
    context.close()


def test_a_card_says_one_token_and_shares_with_two_decimals(
    page: Page, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"kept_tokens": (1.0, 9458.0), "kept_mass": (1.0, 0.00123)}
    monkeypatch.setattr("tests.scripted.channels", lambda spec, i: {name: v[i % 2] for name, v in found.items()})
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(server.url)
        line = page.locator(".pg-specinput").first
        line.fill("fixed:min_p=0.1")
        line.press("Tab")
        page.wait_for_function("document.querySelector('.pg-specinput').value === 'fixed:min_p=0.1'")
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        for place, tokens, mass in ((0, "1 token", "1.00"), (1, "9,458 tokens", "0.0012")):
            token(page, place).click()
            boxes(page)
            card = page.locator(".pg-card >> visible=true").inner_text().split("\n")
            assert card[card.index("Candidates") + 1] == tokens
            assert card[card.index("Kept mass") + 1].strip() == mass
            page.keyboard.press("Escape")
        page.locator("#compare-board summary").first.click()
        rows = page.locator('#compare-board [data-lane="0"] tbody tr')
        rows.nth(1).wait_for()
        assert rows.nth(1).locator("td").all_inner_texts()[-2:] == ["0.0012", "9,458"]
