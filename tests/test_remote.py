"""Nobody without the printed secret trains or promotes: behind nginx, behind a tunnel, by every route that Gradio offers.

A page of another origin in the operator's browser cannot either, even of another port of the same machine.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.training.jobs import Jobs
from playground.ui import training_handlers
from tests.proxies import nginx, tunnel
from tests.serving import Served, cookie_of, served
from tests.test_shelf import put
from tests.test_train_tab import TRAIN_EVENTS
from tests.voted import add_votes, tiny_parts

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings(
        "ignore:.*:pytest.PytestUnraisableExceptionWarning"
    ),  # Gradio leaves its event loop open
]
CHILD = (sys.executable, "-m", "tests.training_child")
WAYS = {"nginx": nginx, "tunnel": tunnel}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[Served]:
    monkeypatch.setattr(training_handlers, "COMMAND", CHILD)
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    add_votes(parts, 12)
    put(settings.trained_heads, "head", base=parts.shelf.base)
    parts.shelf.refresh()
    with served(parts) as running:  # type: ignore[arg-type]
        yield running


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks of the jobs that were started; none is."""
    tasks: list[str] = []
    monkeypatch.setattr(Jobs, "start", lambda self, plan, *_: tasks.append(plan["task"]))
    return tasks


def ask(url: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer: a POST where there is a body. Only the beginning of a stream that does not end."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{url}{path}", data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def promoted(settings: Settings) -> list[Path]:
    return list(settings.trained_heads.glob("*.promoted"))


def train_acts(server: Served) -> dict[int, tuple[str, list[Any]]]:
    """Every event of the Train tab by its number: those of one shape a name, and both of promote and withdraw."""
    acts = {server.function(name): (name, data) for name, data in TRAIN_EVENTS.items()}
    moves = [number for number, fn in server.page.fns.items() if fn.name == "handler"]
    assert len(moves) == 2, "promote and withdraw"
    return acts | {number: ("handler", ["head"]) for number in moves}


def opened_by_the_operator(server: Served, begun: list[str], session: str) -> None:
    """Puts what the operator sees into a session, so that Gradio takes the head's name as a choice of its list."""
    cookie = cookie_of(server.page.operators)
    server.event(server.function("entered"), TRAIN_EVENTS["entered"], session, Cookie=cookie)
    begun.clear()


@pytest.mark.parametrize("way", WAYS)
def test_no_stranger_trains_or_promotes_by_any_route(
    server: Served, begun: list[str], settings: Settings, tmp_path: Path, way: str
) -> None:
    session = "operators-own-found-out"
    opened_by_the_operator(server, begun, session)
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with WAYS[way](port, tmp_path / "proxy") as url:
        assert ask(url, "")[0] == 200, "the page itself is there for everybody"
        for number, (name, data) in train_acts(server).items():
            body = {"fn_index": number, "data": data, "session_hash": session}
            assert ask(url, "gradio_api/queue/join", body)[0] == 200
            told = ask(url, f"gradio_api/queue/data?session_hash={session}")[1]
            assert '"success":true' in told, "it reached the handler, which refused"
            for route in ("run", "api", "call", "call/v2"):
                status, said = ask(url, f"gradio_api/{route}/{name}", body)
                assert (status, "There is nothing at this address" in said) == (404, True)
            for component in server.page.blocks if name == "begin" else ():
                asked = {"component_id": component, "session_hash": session, "fn_name": name, "data": data}
                assert ask(url, "gradio_api/component_server", asked)[0] == 400
        assert begun == []
        assert promoted(settings) == []
        for forged in ("", "guess", server.page.operators.cookie):
            assert ask(url, f"?operator={forged}")[0] == 403


@pytest.mark.parametrize("way", WAYS)
def test_the_operator_trains_and_promotes_through_the_same_ways(
    server: Served, begun: list[str], settings: Settings, tmp_path: Path, way: str
) -> None:
    cookie = {"Cookie": cookie_of(server.page.operators)}
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with WAYS[way](port, tmp_path / "proxy") as url:
        opened_by_the_operator(server, begun, "own")
        for number, (_, data) in train_acts(server).items():
            body = {"fn_index": number, "data": data, "session_hash": "own"}
            assert ask(url, "gradio_api/queue/join", body, **cookie)[0] == 200
            ask(url, "gradio_api/queue/data?session_hash=own")
            if promoted(settings):
                break
        assert "train" in begun
        assert promoted(settings)


EVIL = """<!doctype html><script>
const ask = (path, type) => fetch("URL" + path, {method: "POST", credentials: "include", mode: type ? "no-cors" : "cors",
  headers: {"Content-Type": type || "application/json"}, body: JSON.stringify(BODY)}).then(() => 1, () => 0);
Promise.all([ask("gradio_api/queue/join"), ask("gradio_api/queue/join", "text/plain")]).then(() => (document.title = "done"));
</script>"""


@contextmanager
def page_of_another_origin(host: str, text: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://{host}:{other.server_port}/"
        other.shutdown()


def test_the_link_signs_in_leaves_no_secret_in_the_address_and_a_page_of_another_origin_cannot_use_it(
    page: Page, server: Served, begun: list[str]
) -> None:
    secret = server.operator_link.partition("=")[2]
    addresses: list[str] = []
    page.on("framenavigated", lambda frame: addresses.append(frame.url))
    page.goto(server.operator_link)
    page.wait_for_selector("#generate")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert addresses == [server.url]
    assert page.evaluate("performance.getEntries().map(one => one.name).join()").count(secret) == 0
    assert page.evaluate("document.cookie + location.href + document.referrer + history.length").count(secret) == 0
    body = {"fn_index": server.function("begin"), "data": TRAIN_EVENTS["begin"], "session_hash": "evil"}
    text = EVIL.replace("URL", server.url).replace("BODY", json.dumps(body))
    for host in ("127.0.0.1", "localhost"):  # another port of the same site, and another site
        with page_of_another_origin(host, text) as address:
            other = page.context.new_page()
            other.goto(address)
            other.wait_for_function("document.title === 'done'")
            other.close()
    for session in ("evil",):
        deadline = time.monotonic() + 5
        while server.page._queue.pending_event_ids_session.get(session) and time.monotonic() < deadline:
            told = ask(server.url, f"gradio_api/queue/data?session_hash={session}")[1]
            assert "for the operator" in told
    assert begun == []
    page.get_by_role("tab", name="Train").click()
    page.click("#train-start:not([disabled])")
    page.wait_for_function("document.querySelector('#train-stop') !== null")
    for _ in range(100):
        if "train" in begun:
            break
        page.wait_for_timeout(50)
    assert "train" in begun, "the page itself may"


def test_a_page_opened_without_the_link_says_how_to_sign_in(page: Page, server: Served, begun: list[str]) -> None:
    page.goto(server.url)
    page.get_by_role("tab", name="Train").click()
    page.get_by_text("open the link that python app.py printed").wait_for()
    assert begun == []
    page.goto(server.operator_link)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#train-start >> visible=true")
