"""A server that is killed and started again under an open page: the page says so, keeps what was typed and goes on."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.serving import free_port

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[1]


class App:
    """The app as a user starts it, on one port, which may be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.port, self.data = free_port(), data
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "app.py", "--port", str(self.port), "--data-folder", str(self.data)]
        self.process = subprocess.Popen([*command, "--precision", "gguf"], cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(240):
            try:
                urllib.request.urlopen(self.url).close()
                return
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.5)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("data"))
    running.start()
    yield running
    running.kill()


def test_a_killed_server_is_said_quietly_and_what_was_typed_outlives_it(page: Page, app: App) -> None:
    page.goto(app.url)
    page.wait_for_selector(".pg-specinput")
    page.fill("#compare-prompt textarea", "Count to a thousand, one number a line.")
    page.fill("#length input[type=number]", "512")
    page.press("#length input[type=number]", "Tab")
    page.click("#generate")
    page.locator("#compare-board .pg-token").nth(6).wait_for()
    app.kill()
    line = page.locator(".pg-connection p")
    expect(line).to_contain_text("The server does not answer", timeout=30_000)
    expect(page.locator("#compare-board .pg-running")).to_have_count(0)
    expect(page.locator("#compare-board .pg-problem >> visible=true")).to_contain_text(
        "went away before this run ended"
    )
    expect(page.locator(".toast-body")).to_have_count(0)
    page.fill("#compare-prompt textarea", "Name three birds.")  # while it is gone, and no event of Gradio's runs
    page.fill("#seed input", "77")
    page.fill("#length input[type=number]", "8")
    page.locator(".pg-add").click()
    page.click("#generate")
    app.start()
    expect(line).to_contain_text("The server was away and is back", timeout=60_000)
    expect(page.locator("#compare-prompt textarea")).to_have_value("Name three birds.")
    expect(page.locator("#seed input")).to_have_value("77")
    expect(page.locator(".pg-policy")).to_have_count(3)
    page.click("#generate")
    page.wait_for_selector("#compare-board .pg-figures dt", timeout=60_000)
    assert page.locator("#compare-board .pg-token").count() == 24
