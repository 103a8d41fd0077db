"""Whatever Tab comes to shows that it has the focus: pixels around it change enough, in both themes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from playground.config import Settings
from tests.axe import STILL
from tests.scripted import WORDS, ScriptedParts
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
MARGIN, LEAST_RATIO = 8, 3.0
FOCUSED = """() => {
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  node.scrollIntoView({block: 'center'});
  const box = node.getBoundingClientRect();
  let within = '';
  for (let at = node; at; at = at.parentElement) within += at.id ? `#${at.id}` : '';
  return { name: `${node.tagName} ${within} ${node.ariaLabel || node.textContent.slice(0, 30)}`, x: box.x, y: box.y, width: box.width, height: box.height };
}"""


def luminance(image: np.ndarray) -> np.ndarray:
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def picture(page: Page, box: dict[str, float]) -> np.ndarray:
    size = page.viewport_size
    assert size
    left, top = max(0.0, box["x"] - MARGIN), max(0.0, box["y"] - MARGIN)
    width = min(box["width"] + 2 * MARGIN, size["width"] - left)
    height = min(box["height"] + 2 * MARGIN, size["height"] - top)
    shot = page.screenshot(clip={"x": left, "y": top, "width": width, "height": height}, caret="hide")
    return luminance(np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")) / 255)


def unseen(page: Page, most: int = 90) -> tuple[list[str], list[str]]:
    """All stops from the top of the page by name, and those whose focus changes too few pixels to be seen."""
    names, hidden = [], []
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(3, 3)
    for _ in range(most):
        page.keyboard.press("Tab")
        found: Any = page.evaluate(FOCUSED)
        if found is None or (names and found["name"] == names[0]):
            break
        names.append(found["name"])
        on = picture(page, found)
        page.evaluate("document.activeElement.blur()")
        off = picture(page, found)
        ratio = (np.maximum(on, off) + 0.05) / (np.minimum(on, off) + 0.05)
        if (ratio >= LEAST_RATIO).sum() < 2 * min(found["width"], 120) + 2 * min(found["height"], 120):
            hidden.append(f"{found['name']}: {(ratio >= LEAST_RATIO).sum()} pixels")
    return names, hidden


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_stop_in_compare_shows_its_focus(page: Page, settings: Settings, theme: str) -> None:
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.emulate_media(reduced_motion="reduce")
        page.goto(f"{server.url}?__theme={theme}")
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        page.wait_for_selector("#compare-first >> visible=true")
        page.add_style_tag(content=STILL)
        names, hidden = unseen(page)
    said = "\n".join(names)
    for wanted in ("compare-prompt", "length", "seed", "compare-first", "compare-agree", "compare-gallery", "suggest"):
        assert wanted in said, said
    assert hidden == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_stop_in_the_arena_and_in_methods_shows_its_focus(page: Page, settings: Settings, theme: str) -> None:
    with served(ScriptedParts(settings, texts=(WORDS,))) as server:
        page.goto(f"{server.url}?__theme={theme}")
        page.get_by_role("tab", name="Arena").click()
        page.click("#arena-agree")
        page.click("#battle")
        page.wait_for_selector("#arena-left:not([disabled])")
        page.add_style_tag(content=STILL)
        names, hidden = unseen(page)
        assert "arena-left" in "\n".join(names)
        assert hidden == []
        page.get_by_role("tab", name="Methods").click()
        page.wait_for_selector(".pg-method >> visible=true")
        names, hidden = unseen(page)
        assert len(names) > 20
        assert hidden == []
