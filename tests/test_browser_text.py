"""Characters that draw nothing and reorder their neighbours, in Chromium: the text stays what it is and stands in its order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from tests.scripted import ScriptedParts
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
OVERRIDE, ISOLATE, BLANK = "\u202e", "\u2067", "\u200b"
TEXTS = ("one", f" {OVERRIDE}two", " three", f" {ISOLATE}", "four", BLANK, " five", " six")
LEFTS = """(node) => {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const lefts = [];
  while (walker.nextNode()) {
    const text = walker.currentNode;
    for (let i = 0; i < text.length; i += 1) {
      if (!/[a-z]/.test(text.data[i])) continue;
      const range = document.createRange();
      range.setStart(text, i);
      range.setEnd(text, i + 1);
      lefts.push(range.getBoundingClientRect().left);
    }
  }
  return lefts;
}"""


def in_order(lefts: list[float]) -> bool:
    return len(lefts) > 10 and lefts == sorted(lefts)


def test_a_direction_control_ends_with_itself_and_is_shown(page: Page, settings: Settings) -> None:
    parts: Any = ScriptedParts(replace(settings), texts=(TEXTS,))
    page.set_viewport_size({"width": 1600, "height": 900})
    with served(parts) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        page.locator(".pg-more button").first.click()
        page.fill("#compare-prefill textarea, #compare-prefill input", f"given {OVERRIDE}start")
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        drawn = page.locator('#compare-board [data-lane="0"] .pg-token').evaluate_all(
            "all => all.map(s => s.textContent)"
        )
        assert drawn == list(TEXTS)
        lane = page.locator('#compare-board [data-lane="0"] .pg-text')
        assert lane.locator(".pg-prefill").text_content() == f"given {OVERRIDE}start"
        assert in_order(lane.evaluate(LEFTS))
        marks = lane.locator(".pg-control").evaluate_all(
            "all => all.map(b => getComputedStyle(b, '::before').content.slice(1, -1))"
        )
        assert marks == ["U+202E", "U+202E", "U+2067", "U+200B"]
        lane.locator(".pg-token").nth(1).hover()
        card = page.locator(".pg-card >> visible=true")
        card.get_by_text("‹U+202E›two").first.wait_for()
        page.mouse.move(5, 5)
        page.get_by_role("tab", name="Arena").click()
        page.click("#arena-agree")
        page.click("#battle")
        page.wait_for_selector("#arena-left:not([disabled])")
        blind = page.locator("#arena-battle .pg-text").first
        assert blind.text_content() == "".join(TEXTS)
        assert in_order(blind.evaluate(LEFTS))
    assert page.problems == []  # type: ignore[attr-defined]
