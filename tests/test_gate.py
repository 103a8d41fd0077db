"""What of the served page answers: the routes that the page asks for, with bodies within bounds; all else is one sentence."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.routes import App
from playwright.sync_api import Page as Tab

from playground.config import Settings
from playground.ui.bodies import LARGEST
from playground.ui.contents import DEPTH, VALUES
from playground.ui.gate import allowed
from playground.ui.page import build
from tests.scripted import ScriptedParts
from tests.serving import Served, free_port

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
PIECE = b"x" * 65536


def send(server: Served, head: str, *pieces: bytes) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to raw bytes; what cannot be sent any more is not."""
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
        lines = [head.splitlines()[0], f"Host: 127.0.0.1:{port}", *head.splitlines()[1:], "", ""]
        try:
            wire.sendall("\r\n".join(lines).encode("latin-1"))
            for piece in pieces:
                wire.sendall(piece)
        except OSError:
            pass
        wire.settimeout(30)
        answer = b""
        while b"\r\n\r\n" not in answer and (more := wire.recv(65536)):
            answer += more
        raw, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in raw.decode("latin-1").split("\r\n")[1:])
        while len(body) < int(headers.get("content-length", 0)) and (more := wire.recv(65536)):
            body += more
        return int(raw.split()[1]), headers, body.decode("utf-8", "replace")


def post(server: Served, body: bytes, path: str = "queue/join", kind: str = "application/json") -> tuple[int, str]:
    head = f"POST /gradio_api/{path} HTTP/1.1\nContent-Type: {kind}\nContent-Length: {len(body)}\nConnection: close"
    status, _, text = send(server, head, body)
    return status, text


def join(data: list[Any], function: int = 0) -> bytes:
    return json.dumps({"fn_index": function, "data": data, "session_hash": "s"}, ensure_ascii=False).encode()


def every_route(app: App) -> list[tuple[str, str]]:
    """Method and path of every route that this Gradio has, with something in place of its parameters."""
    found = []
    included = [
        route
        for router in app.routes
        for route in getattr(router, "original_router", SimpleNamespace(routes=())).routes
    ]
    for route in [*app.routes, *included]:
        path = getattr(route, "path", "").replace("{path:path}", "index.js")
        for name in ("api_name", "event_id", "session_hash", "key", "id", "path_or_url:path", "url_path:path"):
            path = path.replace(f"{{{name}}}", "x")
        found += [(method, path) for method in sorted(getattr(route, "methods", None) or ())]
    return found


def test_of_gradios_routes_only_those_that_the_page_needs_answer(server: Served) -> None:
    routes = every_route(server.page.app)
    assert len(routes) > 60
    assert ("POST", "/gradio_api/upload") in routes
    assert ("GET", "/gradio_api/deep_link") in routes
    open_now = {(method, path) for method, path in routes if method in allowed(path)}
    assert {(method, path) for method, path in open_now if method != "HEAD"} == {
        ("GET", "/"), ("GET", "/theme.css"), ("GET", "/favicon.ico"), ("GET", "/robots.txt"),
        ("GET", "/static/index.js"), ("GET", "/assets/index.js"), ("GET", "/gradio_api/startup-events"),
        ("GET", "/gradio_api/queue/data"), ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/component_server"), ("POST", "/gradio_api/component_server/"),
    }  # fmt: skip
    for method, path in sorted(set(routes) - open_now):
        status, _, text = send(server, f"{method} {path} HTTP/1.1\nContent-Length: 0\nConnection: close")
        assert status == 404, (method, path)
        assert method == "HEAD" or "There is nothing at this address" in text, (method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/deep_link?session_hash=s", "/gradio_api/./deep_link", "//gradio_api/upload", "/gradio_api//upload",
        "/%67radio_api/upload", "/gradio_api%2fupload", "/gradio_api/file=/etc/passwd", "/gradio_api/file/x", "/config",
        "/config/", "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/heartbeat/s", "/login", "/monitoring",
        "/openapi.json", "/docs", "/gradio_api/queue/join/x", "/theme.css/x", "/votes.sqlite3", "/.env", "/theme.css//",
    ],
)  # fmt: skip
def test_other_spellings_and_other_addresses_are_refused_too(server: Served, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "FOO"):
        status, _, text = send(server, f"{method} {path} HTTP/1.1\nContent-Length: 0\nConnection: close")
        assert status == 404, (method, path, text[:200])


@pytest.mark.parametrize(
    "path", ["/assets/../../pyproject.toml", "/static/%2e%2e/%2e%2e/routes.py", "/assets//etc/passwd"]
)
def test_the_folders_give_nothing_but_what_is_in_them(server: Served, path: str) -> None:
    assert send(server, f"GET {path} HTTP/1.1\nConnection: close")[0] in (403, 404)


def test_no_session_is_stored_or_loaded_by_a_link(server: Served, tmp_path: Path) -> None:
    server.event(server.function("opened"), ["victim"], "known")
    before = len(list(Path(server.page.app.uploaded_file_dir).rglob("state.json")))
    assert send(server, "GET /gradio_api/deep_link?session_hash=known HTTP/1.1\nConnection: close")[0] == 404
    assert len(list(Path(server.page.app.uploaded_file_dir).rglob("state.json"))) == before
    status, _, text = send(server, "GET /?deep_link=abcdefghijk&view=x HTTP/1.1\nConnection: close")
    assert status == 200
    assert '"deep_link_state":"none"' in text.replace(" ", "")


def test_a_websocket_is_refused(server: Served) -> None:
    head = "GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    assert send(server, head)[0] in (200, 403, 404), "never 101"


@pytest.mark.parametrize("path", ["queue/join", "component_server", "component_server/"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_before_it_is_read_in_one_sentence(server: Served, path: str, chunked: bool) -> None:
    size = "Transfer-Encoding: chunked" if chunked else "Content-Length: 50000000"
    pieces = [b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE for _ in range(50_000_000 // len(PIECE))]
    head = f"POST /gradio_api/{path} HTTP/1.1\nContent-Type: application/json\n{size}"
    status, headers, text = send(server, head, *pieces)
    assert (status, json.loads(text)["detail"]) == (413, "A request may have at most 512 KiB; send shorter texts.")
    assert headers["connection"] == "close"


def test_thirty_two_large_requests_that_nobody_reads_take_no_memory(server: Served) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    head = "POST /gradio_api/queue/join HTTP/1.1\nContent-Type: application/json\nTransfer-Encoding: chunked"
    chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    before = resident()
    for _ in range(32):
        assert send(server, head, *[chunk] * 763)[0] == 413
    assert resident() - before < 50 << 20


@pytest.mark.parametrize("told", ["Content-Length: 99999999999999999999", "Content-Length: 524289"])
def test_a_length_that_is_too_large_is_refused_unread(server: Served, told: str) -> None:
    head = f"POST /gradio_api/queue/join HTTP/1.1\nContent-Type: application/json\n{told}"
    assert send(server, head)[0] in (400, 413)


def test_the_longest_texts_that_the_form_takes_pass(server: Served) -> None:
    function = server.function("generate")
    body = join([*["😀" * 20_000] * 5, 1, 16, ["fixed", "edt"]], function)
    assert LARGEST > len(body) > 400_000
    assert post(server, body)[0] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 413),
        (b"{\"a\":" * 40 + b"1" + b"}" * 40, 413),
        (b"[" + b"[]," * 100_000 + b"1]", 413),
        (b"[" + b"{}," * 100_000 + b"1]", 413),
        (b"[" + b"1," * 200_000 + b"1]", 413),
        (b'{"a":"' + b"\\\"" * 200_000, None),
        (b'"' * 400_001, None),
        (b'{"data":"[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', None),
        ('{"fn_index":0,"data":[[[[]]]]}'.encode("utf-16"), 415),
        ('{"fn_index":0,"data":[[[[]]]]}'.encode("utf-32"), 415),
        (b"", None),
        (b"null", None),
        (b"1" * 100_000, None),
        (b'{"fn_index":1e999,"data":[NaN],"session_hash":"s"}', None),
        (b"\xff\xfe\xfd", None),
    ],
)  # fmt: skip
def test_bodies_that_would_grow_when_parsed_are_refused_and_others_never_break_the_server(
    server: Served, body: bytes, status: int | None
) -> None:
    for path in ("queue/join", "component_server"):
        got, text = post(server, body, path)
        assert got == status if status else 400 <= got < 500, (body[:40], got)
        assert "Traceback" not in text
        assert len(text) < 1000, "what was sent is not sent back"
    assert VALUES > 1000
    assert DEPTH > 8


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]
)
def test_what_is_not_declared_as_json_is_refused(server: Served, kind: str) -> None:
    for path in ("queue/join", "component_server"):
        status, text = post(server, join([]), path, kind)
        assert (status, "must be a JSON" in text) == (415, True)


def test_whoever_launches_the_page_serves_it_behind_the_gate(settings: Settings) -> None:
    """A Space takes `demo` and may launch it itself, with options of its own and none of ours."""
    page, port = build(ScriptedParts(settings)), free_port()  # type: ignore[arg-type]
    page.launch(server_port=port, prevent_thread_lock=True, app_kwargs={"docs_url": "/docs"})
    try:
        server = Served(f"http://127.0.0.1:{port}/", page)
        assert send(server, "GET /config HTTP/1.1\nConnection: close")[0] == 404
        assert send(server, "GET /docs HTTP/1.1\nConnection: close")[0] == 404
        assert send(server, "POST /gradio_api/upload HTTP/1.1\nContent-Length: 0\nConnection: close")[0] == 404
        assert (page.run_history, page.show_error, page.enable_monitoring) == (False, False, False)
        assert str(settings.data_folder) in page.blocked_paths
    finally:
        page.close(verbose=False)
        page.operators.link("127.0.0.1", port)


@pytest.mark.browser
def test_a_text_that_is_too_long_to_send_is_said_on_the_page(page: Tab, server: Served) -> None:
    page.goto(server.url)
    page.wait_for_selector("#generate")
    page.evaluate(
        """() => { const box = document.querySelector('#compare-prompt textarea'); box.value = 'x'.repeat(600000);
        box.dispatchEvent(new Event('input', {bubbles: true})); }"""
    )
    page.click("#generate")
    page.get_by_text("A request may have at most 512 KiB; send shorter texts.").wait_for()
