"""The page works under whatever name and path a proxy gives it, also where the proxy tells the server of neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from playground.config import Settings
from tests.proxies import nginx
from tests.scripted import ScriptedParts
from tests.serving import CHROMIUM, FLAGS, Served, served

NAME = "lan.test"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings(
        "ignore:.*:pytest.PytestUnraisableExceptionWarning"
    ),  # Gradio leaves its event loop open
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, to which one more name is this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(ScriptedParts(Settings(data_folder=tmp_path / "data"))) as running:
        yield running


@pytest.mark.parametrize("prefix", ["/", "/sub/", "/a/deep/path/"])
@pytest.mark.parametrize("host", [NAME, "localhost", "127.0.0.1"])
def test_behind_a_proxy_that_says_nothing_the_page_generates(
    browser: Any, server: Served, tmp_path: Path, prefix: str, host: str
) -> None:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    with nginx(port, tmp_path / "proxy", prefix) as url:
        address = url.replace("127.0.0.1", host)
        page.goto(address)
        _generate(page)
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("open the link that python app.py printed").wait_for()
        context.close()
    assert [one for one in asked if not one.startswith((address, "data:", "blob:"))] == []
    assert problems == []


def _generate(page: Page) -> None:
    page.wait_for_selector(".pg-specinput")
    page.fill("#compare-prompt textarea", "Tell me of the sea.")
    page.click("#generate")
    page.locator("#compare-board .pg-token").nth(4).wait_for()
    expect(page.locator(".toast-body")).to_have_count(0)
