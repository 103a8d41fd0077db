"""What strangers send to a served page: no file is fetched, no value sent back or kept, nobody shut out, and the log stays short."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from playground.ui import unread
from playground.ui.bodies import UNFINISHED, Bodies
from playground.ui.contents import BodyError
from playground.ui.operators import ELSEWHERE
from tests.serving import Served
from tests.test_gate import post, send
from tests.test_remote import page_of_another_origin

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
LONG = "y" * 100_000


@pytest.fixture
def asked_for() -> Iterator[tuple[str, list[str]]]:
    """The address of a file of another server, and what was asked of it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"stolen")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}/file.bin", seen
        other.shutdown()


def body_of(server: Served, name: str, data: list[Any], **more: Any) -> bytes:
    return json.dumps({"fn_index": server.function(name), "data": data, "session_hash": "s", **more}).encode()


def refused(server: Served, body: bytes, status: int = 400, path: str = "queue/join") -> str:
    got, text = post(server, body, path)
    assert got == status, text[:300]
    told = json.loads(text)
    assert list(told) == ["detail"]
    assert isinstance(told["detail"], str)
    assert told["detail"].endswith(".")
    assert len(told["detail"]) < 250
    return str(told["detail"])


def written(capfd: Any, caplog: Any) -> str:
    told = "".join(capfd.readouterr()) + caplog.text
    caplog.clear()
    return told


META = '"meta":{"_type":"gradio.FileData"}'


@pytest.mark.parametrize(
    "value",
    [
        f'{{"path":URL,"url":URL,{META}}}', f'{{"path":URL,{META}}}', f'[[{{"a":{{"path":URL,{META}}}}}]]',
        f'{{"path":URL,{META},"path":1,"path":URL}}', '{"p\\u0061th":URL,"m\\u0065ta":{"\\u005ftype":"gradio.FileData"}}',
        '{"path":URL}', '{"path":URL,"meta":1}', '{"path":URL,"meta":{"_type":{}}}',
        f'{{"path":URL,"is_stream":true,{META}}}',
    ],
)  # fmt: skip
def test_nothing_that_names_a_file_passes_and_no_address_is_fetched(
    server: Served, asked_for: tuple[str, list[str]], value: str, capfd: Any
) -> None:
    url, seen = asked_for
    text = value.replace("URL", json.dumps(url))
    before = sorted(Path(server.page.GRADIO_CACHE).rglob("*"))
    for name in ("after", "opened", "put_found", "open_vote"):
        number = server.function(name)
        body = f'{{"fn_index":{number},"data":[{text}],"session_hash":"s"}}'.encode()
        assert "takes a file" in refused(server, body)
        body = f'{{"fn_index":{number},"data":[null],"event_data":{text},"session_hash":"s"}}'.encode()
        assert "takes a file" in refused(server, body)
    board = next(number for number, block in server.page.blocks.items() if block.elem_id == "compare-board")
    call = f'{{"component_id":{board},"fn_name":"inspect","data":{text},"session_hash":"s"}}'.encode()
    assert "takes a file" in refused(server, call, path="component_server")
    assert seen == []
    assert sorted(Path(server.page.GRADIO_CACHE).rglob("*")) == before
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("half", ["\\ud800", "a\\udc00", "\\ud800\\ud800"])
def test_half_a_surrogate_pair_is_refused_wherever_it_is(server: Served, half: str, capfd: Any) -> None:
    for number, fn in server.page.fns.items():
        data = json.dumps([["X"] if i % 2 else "X" for i in range(len(fn.inputs) or 1)]).replace("X", half)
        assert "surrogate" in refused(server, f'{{"fn_index":{number},"data":{data},"session_hash":"s"}}'.encode())
    assert "surrogate" in refused(server, f'{{"fn_index":0,"data":[],"session_hash":"s","{half}":1}}'.encode())
    assert "surrogate" in refused(server, f'{{"data":"{half}"}}'.encode(), path="component_server")
    whole = json.dumps(["😀", "", "", "", "", 1, 16, ["fixed", "edt"]])
    assert (
        post(server, f'{{"fn_index":{server.function("generate")},"data":{whole},"session_hash":"s"}}'.encode())[0]
        == 200
    )
    assert "Traceback" not in "".join(capfd.readouterr())


def nonsense(field: Any) -> list[Any]:
    """Values that this kind of field cannot send."""
    kinds: dict[str, list[Any]] = {
        "Textbox": [1, [], {}, True], "Number": [LONG, [], {}], "Slider": [LONG, [], {}],
        "Dropdown": [LONG, 1, [], {}, True], "Radio": [LONG, 1, [], {}], "Checkbox": ["x", 1, [], {}],
        "CheckboxGroup": [None, "x", [LONG], [1], [[]], ["votes"] * 1000, {}],
        "BrowserState": [10**30, [], {}, True, LONG],
    }  # fmt: skip
    return kinds.get(type(field).__name__, [])


def test_a_value_that_a_field_cannot_send_is_a_sentence_that_is_not_sent_back(
    server: Served, capfd: Any, caplog: Any
) -> None:
    tried = 0
    for number, fn in server.page.fns.items():
        fitting = [["votes"] if type(field).__name__ == "CheckboxGroup" else None for field in fn.inputs]
        for place, field in enumerate(fn.inputs if fn.fn else ()):
            for value in nonsense(field):
                data = [*fitting[:place], value, *fitting[place + 1 :]]
                body = json.dumps({"fn_index": number, "data": data, "session_hash": "s"}).encode()
                said = refused(server, body)
                assert "must be" in said, (fn.name, place)
                assert "yyy" not in said
                tried += 1
    assert tried > 150
    assert written(capfd, caplog) == ""


def test_a_choice_that_is_not_offered_is_our_sentence_which_names_the_field(
    server: Served, capfd: Any, caplog: Any
) -> None:
    cases = {"lanes": (["z-unheard", "Lane 2"], "“First” must be one of what is offered"),
             "cast": (["Lane 1", "z-unheard", None, True, None], "“Second” must be one of what is offered")}  # fmt: skip
    for name, (data, sentence) in cases.items():
        told = server.event(server.function(name), data, f"s-{name}").decode()
        assert sentence in told
        assert "z-unheard" not in told
    for name in ("tick", "look", "compare", "handler", "entered", "begin", "begin_count", "asked", "levelled"):
        fn = server.page.fns[server.function(name)]
        data = [["z-unheard"] if type(field).__name__ == "CheckboxGroup" else None for field in fn.inputs]
        data = ["z-unheard" if type(f).__name__ == "Dropdown" else v for f, v in zip(fn.inputs, data, strict=True)]
        told = server.event(server.function(name), data, f"s-{name}").decode()
        assert ELSEWHERE.split("`")[0] in told, "whoever may not train reads that, and nothing of the fields"
    assert written(capfd, caplog) == ""


def test_no_answer_and_no_session_keeps_what_was_sent(server: Served) -> None:
    data = ["secret-word " * 1600, "", "", "", "", 1, 16, ["fixed", "edt"]]
    server.event(server.function("generate"), data, "one")
    kept = server.page.state_holder["one"]
    assert kept.config_values == {}, "neither what was sent nor a copy of the page"


@pytest.mark.parametrize(
    "change",
    [
        {"fn_index": 10**9}, {"fn_index": -1}, {"fn_index": "1"}, {"fn_index": None}, {"fn_index": True}, {"fn_index": 1.0},
        {"fn_index": 10**30}, {"session_hash": ""}, {"session_hash": 5}, {"session_hash": None}, {"session_hash": {}},
        {"session_hash": "x" * 65}, {"session_hash": "a b"}, {"session_hash": "\u202e"}, {"data": []}, {"data": "x"},
        {"data": None}, {"data": {}},
    ],
)  # fmt: skip
def test_a_request_that_the_page_does_not_make_is_one_sentence_and_leaves_no_line(
    server: Served, change: dict[str, Any], capfd: Any, caplog: Any
) -> None:
    body = {"fn_index": server.function("after"), "data": [None], "session_hash": "s"} | change
    refused(server, json.dumps(body).encode())
    if "fn_index" not in change and "data" not in change:
        board = next(number for number, block in server.page.blocks.items() if block.elem_id == "compare-board")
        refused(server, json.dumps({"component_id": board, "fn_name": "inspect", "data": {}, **change}).encode(),
                path="component_server")  # fmt: skip
    assert written(capfd, caplog) == ""


@pytest.mark.parametrize("field", ["event_id", "oauth_token", "batched", "simple_format", "trigger_id", "event_data"])
def test_fields_that_the_page_does_not_send_change_nothing(server: Served, field: str) -> None:
    server.post("queue/join", json.loads(body_of(server, "opened", [None])) | {field: [{"odd": 1}]})
    with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash=s") as stream:
        assert '"success":true' in stream.read().decode()


def test_events_without_a_handler_are_not_taken(server: Served) -> None:
    without = [number for number, fn in server.page.fns.items() if fn.fn is None]
    assert len(without) > 8
    for number in without:
        data = [None] * len(server.page.fns[number].inputs)
        refused(server, json.dumps({"fn_index": number, "data": data, "session_hash": "s"}).encode())


@pytest.mark.parametrize(
    "query", ["session_hash=anything", "session_hash=", "session_hash=a&session_hash=b", "", "session_hash=%ff", "x=1"]
)
def test_a_page_that_the_server_does_not_know_gets_one_sentence_and_no_line_in_the_log(
    server: Served, query: str, capfd: Any, caplog: Any
) -> None:
    status, _, text = send(server, f"GET /gradio_api/queue/data?{query} HTTP/1.1\nConnection: close")
    assert status == (200 if query == "session_hash=anything" else 400)
    told = json.loads(text.partition("data: ")[2] or text)
    assert (told.get("message") or told["detail"]).endswith(".")
    assert written(capfd, caplog) == ""


def test_two_content_types_are_refused(server: Served) -> None:
    body = body_of(server, "opened", [None])
    for kinds in (("text/plain", "application/json"), ("application/json", "text/plain")):
        lines = "".join(f"\nContent-Type: {kind}" for kind in kinds)
        head = f"POST /gradio_api/queue/join HTTP/1.1{lines}\nContent-Length: {len(body)}\nConnection: close"
        status, _, text = send(server, head, body)
        assert (status, "must be a JSON object" in text) == (415, True)


@pytest.mark.parametrize("path", ["//", "//?operator=x", "/assets/nothing.js", "/static/nothing", "/assets/", "///"])
def test_what_is_not_there_is_our_sentence(server: Served, path: str) -> None:
    status, _, text = send(server, f"GET {path} HTTP/1.1\nConnection: close")
    assert (status, text.strip()) == (404, "There is nothing at this address; open the page itself at /.")


@pytest.mark.parametrize("path", ["/", "/theme.css", "/favicon.ico", "/preview.png", "/robots.txt"])
def test_head_is_answered_as_get_without_a_body(server: Served, path: str) -> None:
    status, headers, text = send(server, f"HEAD {path} HTTP/1.1\nConnection: close")
    assert (status, text) == (send(server, f"GET {path} HTTP/1.1\nConnection: close")[0], "")
    assert int(headers.get("content-length", 1)) > 0


def test_answers_that_nobody_reads_are_bounded_for_a_page_and_overall(server: Served) -> None:
    queue, number = server.page._queue, server.function("opened")

    def left() -> int:
        return sum(len(ids) for ids in queue.pending_event_ids_session.values())

    def join(session: str) -> tuple[int, str]:
        return post(server, json.dumps({"fn_index": number, "data": [None], "session_hash": session}).encode())

    for _ in range(unread.OF_A_PAGE):
        while (status := join("greedy")[0]) == 503:
            pass
        assert status == 200
    assert "32 answers unread" in refused(server, body_of(server, "opened", [None], session_hash="greedy"), 429)
    for i in range(300):
        while join(f"many{i}")[0] == 503:
            pass
        assert left() <= unread.OVERALL + 1
    assert len(queue.pending_messages_per_session) <= unread.OVERALL + 1
    assert '"success":true' in server.event(number, [None], "visitor").decode(), "others are served meanwhile"


def test_a_page_that_listens_is_not_dropped_for_those_that_do_not(server: Served) -> None:
    class Queue:
        def __init__(self) -> None:
            self.pending_event_ids_session = {"page": {"e"}, **{f"s{i}": {"e"} for i in range(unread.OVERALL)}}
            self.pending_messages_per_session: dict[str, Any] = dict(self.pending_event_ids_session)

        async def clean_events(self, session_hash: str) -> None:
            return

    queue, watched = Queue(), unread.Unread()
    with watched.listening("page"):
        asyncio.run(watched.admit("new", queue))
        assert "page" in queue.pending_event_ids_session
        assert "s0" not in queue.pending_event_ids_session
    for i in range(2):
        asyncio.run(watched.admit(f"s{i + 100}", queue))
    queue.pending_event_ids_session |= {f"t{i}": {"e"} for i in range(unread.OVERALL)}
    asyncio.run(watched.admit("last", queue))
    assert "page" not in queue.pending_event_ids_session, "it left"


def test_a_body_that_stalls_is_ended_and_many_of_them_end_the_oldest() -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]

    async def stall() -> Any:
        await asyncio.Event().wait()

    async def whole() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def tried() -> None:
        with pytest.raises(BodyError) as slow:
            await Bodies(seconds=0.05).read(headers, stall)
        assert slow.value.status == 408
        bodies = Bodies(unfinished=4)
        stalled = [asyncio.create_task(bodies.read(headers, stall)) for _ in range(9)]
        done, _ = await asyncio.wait(stalled, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.05)
        assert [task.done() for task in stalled] == [True] * 5 + [False] * 4
        assert await bodies.read(headers, whole) == b"{}"
        assert done
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        assert bodies.unfinished == []

    asyncio.run(tried())


def test_connections_that_send_half_a_body_are_closed_with_a_sentence_and_others_are_served(server: Served) -> None:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    head = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    wires = []
    for _ in range(UNFINISHED + 20):
        wire = socket.create_connection(("127.0.0.1", port), timeout=30)
        wire.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + b"x" * 1000)
        wires.append(wire)
    answer = b""
    while more := wires[0].recv(65536):
        answer += more
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert b"must arrive within 20 seconds" in answer
    assert b'"success":true' in server.event(server.function("opened"), [None], "visitor").replace(b" ", b"")
    for wire in wires:
        wire.close()


WHO_FRAMES = "frame-ancestors 'self'"


@pytest.mark.parametrize(
    "request_line",
    ["GET /", "HEAD /", "GET /theme.css", "GET /preview.png", "GET /nothing", "POST /gradio_api/queue/join", "PUT /",
     "GET /?operator=no", "GET /gradio_api/queue/data?session_hash=x", "GET /assets/nothing"],
)  # fmt: skip
def test_every_answer_says_who_may_frame_it(server: Served, request_line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = f"{request_line} HTTP/1.1\nContent-Length: 0\nConnection: close"
    headers = send(server, head)[1]
    assert headers["content-security-policy"] == WHO_FRAMES
    assert headers["x-frame-options"] == "sameorigin"
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "org/name")
    headers = send(server, head)[1]
    assert headers["content-security-policy"] == f"{WHO_FRAMES} https://huggingface.co https://*.hf.space"
    assert "x-frame-options" not in headers


@pytest.mark.browser
def test_a_page_of_another_port_cannot_frame_this_one(page: Tab, server: Served) -> None:
    page.goto(server.operator_link)
    page.wait_for_selector("#generate")
    frames = '<iframe src="URL" onload="document.title = \'done\'"></iframe>'.replace("URL", server.url)
    for host in ("127.0.0.1", "localhost"):
        with page_of_another_origin(host, frames) as address:
            other = page.context.new_page()
            other.goto(address)
            other.wait_for_function("document.title === 'done'")
            assert [frame.url for frame in other.frames[1:]] == ["chrome-error://chromewebdata/"]
            assert other.frames[1].query_selector("#generate") is None
            other.close()
