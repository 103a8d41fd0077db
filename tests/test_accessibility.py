"""No serious or critical finding of axe-core on any tab, in either theme, on a desk or a phone, cards and folds open."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.ui import training_handlers
from tests.axe import findings, still
from tests.scripted import WORDS, ScriptedParts, measured_catalogue
from tests.serving import served
from tests.test_browser_train import CHILD
from tests.voted import add_votes, tiny_parts

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]


def unfold(page: Page) -> None:
    """Open every fold in sight."""
    page.evaluate("() => document.querySelectorAll('main details').forEach(fold => (fold.open = true))")
    folded = "[...document.querySelectorAll('.pg-more > button:not(.open)')].filter(fold => fold.offsetParent)"
    page.evaluate(f"{folded}.forEach(fold => fold.click())")
    page.wait_for_timeout(300)


def test_compare_before_during_and_after_a_run(page: Page, settings: Settings) -> None:
    hold = {10: threading.Event()}
    parts = ScriptedParts(settings, texts=(WORDS * 2,), pause=0.1, hold=hold, catalogue=measured_catalogue())
    with served(parts) as server:
        page.goto(server.url)
        page.wait_for_selector("#generate")
        still(page)
        found: list[str] = []
        found += findings(page)
        unfold(page)
        found += findings(page)
        page.click("#generate")
        page.locator("#compare-board .pg-token").nth(6).wait_for()
        found += findings(page)
        hold[10].set()
        page.wait_for_selector(".pg-chart .js-plotly-plot")
        unfold(page)
        page.locator("#compare-board .pg-token").nth(3).click()
        page.wait_for_selector(".pg-candidates >> visible=true")
        found += findings(page)
    assert not found, "\n".join(found)


def test_the_arena_before_during_and_after_a_battle(page: Page, settings: Settings) -> None:
    hold = {10: threading.Event()}
    with served(ScriptedParts(settings, hold=hold)) as server:
        page.goto(server.url)
        page.get_by_role("tab", name="Arena").click()
        page.wait_for_selector("#arena-agree >> visible=true")
        still(page)
        found: list[str] = []
        found += findings(page)
        page.click("#arena-agree")
        page.click("#battle")
        page.wait_for_selector("#arena-battle .pg-running >> visible=true")
        found += findings(page)
        hold[10].set()
        page.wait_for_selector("#arena-left:not([disabled])")
        found += findings(page)
        page.click("#arena-left")
        page.wait_for_selector("#arena-board .pg-figures dt")
        unfold(page)
        page.locator("#arena-board .pg-token").nth(3).click()
        page.wait_for_selector(".pg-candidates >> visible=true")
        found += findings(page)
    assert not found, "\n".join(found)


def test_methods_with_its_folds_open(page: Page, settings: Settings) -> None:
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        page.get_by_role("tab", name="Methods").click()
        page.wait_for_selector(".pg-method >> visible=true")
        still(page)
        found: list[str] = []
        unfold(page)
        found += findings(page)
    assert not found, "\n".join(found)


def test_train_before_and_after_a_training(
    page: Page, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_handlers, "COMMAND", CHILD)
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    add_votes(parts, 14)
    with served(parts) as server:  # type: ignore[arg-type]
        page.set_default_timeout(60_000)
        page.goto(server.operator_link)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("14 of 14 votes can train this").wait_for()
        still(page)
        found: list[str] = []
        found += findings(page)
        page.click("#train-start:not([disabled])")
        page.get_by_text("votes-token-1 is a policy now").wait_for()
        page.wait_for_function("document.querySelectorAll('#train-charts .js-plotly-plot').length === 4")
        unfold(page)
        found += findings(page)
    assert not found, "\n".join(found)
