"""The Train tab in Chromium: votes become a head that can be named in Compare at once; who may not train sees a sentence."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.ui import operators, training_handlers
from tests.serving import served
from tests.test_shelf import put
from tests.voted import add_votes, tiny_parts

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
CHILD = (sys.executable, "-m", "tests.training_child")


def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PLAYGROUND_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_votes_become_a_head_that_is_compared_with_its_parent_and_promoted(
    page: Page, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_handlers, "COMMAND", CHILD)
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    add_votes(parts, 14)
    add_votes(parts, 2, blind=False)
    with served(parts) as server:  # type: ignore[arg-type]
        page.set_default_timeout(150_000)
        page.goto(server.operator_link)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("14 of 14 votes can train this, over 4 prompts").wait_for()
        page.get_by_text(f"listed from {settings.data_folder / 'preferences'}").wait_for()
        assert "where the names were seen (2)" in page.locator(".pg-training").inner_text()
        assert not page.locator("#train-heads").is_visible()
        page.click("#train-start:not([disabled])")
        page.wait_for_selector("#train-stop:not([disabled])")
        page.get_by_text("votes-token-1 is a policy now").wait_for()
        page.wait_for_function("document.querySelectorAll('#train-charts .js-plotly-plot').length === 4")
        page.screenshot(path=shots(tmp_path) / "train.png", full_page=True)
        page.click("#train-promote")
        page.get_by_text("meets others in the Arena").wait_for()
        assert parts.arena == ("adaptive-token",)
        page.click("#train-withdraw")
        page.get_by_text("is out of the Arena").wait_for()
        assert parts.arena == ()
        page.get_by_role("tab", name="Methods").click()
        page.get_by_text("Trained since the start").click()
        page.get_by_role("heading", name="votes-token-1").wait_for()
        page.get_by_role("tab", name="Train").click()
        page.click("#train-compare")
        page.wait_for_selector("#generate >> visible=true")
        page.wait_for_function("document.querySelector('.pg-policy .pg-kind').value === 'adaptive-token'")
        offered = page.locator('.pg-policy select[data-key="checkpoint"] option').all_text_contents()
        assert "votes-token-1" in offered
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        titles = page.locator("#compare-board .pg-title").all_text_contents()
        assert titles == ["AdaptiveDecoder, per token", "Random temperature (control)"]
        assert page.locator("#compare-board .pg-problem >> visible=true").count() == 0
    assert page.problems == []  # type: ignore[attr-defined]


def test_who_may_not_train_sees_one_sentence_and_no_controls(
    page: Page, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    with served(parts) as server:  # type: ignore[arg-type]
        page.goto(server.url)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text(operators.ELSEWHERE.replace("`", "")).wait_for()
        assert not page.locator("#train-start").is_visible()
        assert not page.locator("#train-ground").is_visible()


@pytest.mark.parametrize("refused", ["../x", "taken"])
def test_a_refusal_stays_until_the_next_act_and_a_tick_sends_only_what_is_new(
    page: Page, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setattr(training_handlers, "COMMAND", CHILD)
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    add_votes(parts, 4)
    put(settings.trained_heads, "taken", base=parts.shelf.base)
    parts.shelf.refresh()
    sentence = page.locator("#train-denied").get_by_text("Name must have" if refused == "../x" else "There is a head")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("queue/join?") else None)
    with served(parts) as server:  # type: ignore[arg-type]
        page.goto(server.operator_link)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("4 of 4 votes can train this").wait_for()
        page.fill("#train-name input, #train-name textarea", refused)
        page.click("#train-start")
        sentence.wait_for()
        page.wait_for_timeout(3500)
        assert sentence.is_visible(), "three ticks later"
        assert page.get_by_text("4 of 4 votes can train this").is_visible(), "the counts stay beside it"
        quiet = len(asked)
        page.wait_for_timeout(2500)
        assert len(asked) == quiet, "where nothing runs, nothing is asked every second"
        page.click("#train-count")
        sentence.wait_for(state="hidden")


def test_a_page_that_is_opened_later_counts_the_votes_that_came_since(
    page: Page, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_handlers, "COMMAND", CHILD)
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    with served(parts) as server:  # type: ignore[arg-type]
        page.set_default_timeout(60_000)
        page.goto(server.operator_link)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("0 of 0 votes can train this").wait_for()
        page.wait_for_selector("#train-start[disabled]")  # it could only fail
        counters = page.locator("#train-said .wrap.hide, #train-denied .wrap.hide")
        assert counters.count()  # Gradio's, which counts seconds in place of what is said
        shown = counters.evaluate_all("all => all.map((one) => getComputedStyle(one).display)")
        assert set(shown) == {"none"}
        add_votes(parts, 3)
        page.get_by_label("sequence", exact=True).click()
        page.get_by_text(training_handlers.OUTDATED).wait_for()
        page.wait_for_selector("#train-start:not([disabled])")
        page.goto(server.operator_link)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("3 of 3 votes can train this").wait_for()
        assert not page.get_by_text(training_handlers.OUTDATED).is_visible()
        page.wait_for_selector("#train-start:not([disabled])")
        page.get_by_label("sequence", exact=True).click()
        page.get_by_text("0 of 3 votes can train this").wait_for()
        page.get_by_text("both lanes are adaptive-sequence:select=sample or random:per=reply").wait_for()
        page.wait_for_selector("#train-start[disabled]")
        page.get_by_label("token", exact=True).click()
        page.wait_for_selector("#train-start:not([disabled])")
