"""What of a served page is reachable: the routes that the page itself asks for, and bodies within bounds.

Gradio's other routes answer nobody. Some of them store what strangers send or what a visitor's session holds (`upload`,
`deep_link`), others run any event under a name (`call`, `run`, `api`) or tell about the server; the page needs none of
them, and no interface for programs is documented. A route that the page comes to need takes one line here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from playground.ui import faults
from playground.ui.bodies import BodyError, Message, Receive, taken
from playground.ui.operators import ELSEWHERE, ON_A_SPACE, QUERY, Operators, on_a_space

API = "/gradio_api/"
GET, POST = ("GET", "HEAD"), ("POST",)
ROUTES = {
    "/": GET,
    "/theme.css": GET,
    "/favicon.ico": GET,
    "/preview.png": GET,
    "/robots.txt": GET,
    f"{API}startup-events": GET,  # Gradio asks for it when it is launched
    f"{API}queue/data": GET,
    f"{API}queue/join": POST,
    f"{API}component_server": POST,
}
FOLDERS = ("/assets/", "/static/")  # Gradio's own scripts, styles and fonts
DROPPED = (QUERY, "deep_link")  # of the page's address: a secret, and the name of a stored session
NOTHING_HERE = "There is nothing at this address; open the page itself at /."

Scope = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """Stands before Gradio: refuses what the page does not need in one sentence, and signs the operator in."""

    def __init__(self, app: Application, operators: Operators) -> None:
        self.app, self.operators = app, operators

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path = path_of(scope)
        if scope["type"] != "http" or scope["method"] not in allowed(path):
            await _answer(scope, send, 404, NOTHING_HERE)
        elif scope["method"] == "POST":
            await self._take(scope, receive, send)
        elif path == "/" and scope.get("query_string"):
            await self._open(scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio's answer; where it fails, one sentence, and no exception's text in the log."""
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as error:
            sentence = faults.sentence(error)
            if not begun:
                await _answer(scope, send, 500, sentence)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            receive = await taken(scope["headers"], receive)
        except BodyError as refused:
            await _answer(scope, send, refused.status, refused.sentence)
            return
        await self._pass(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page; the operator's link is answered by a cookie and the address without the secret, so that neither the
        address bar nor the history keeps it."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        kept = urlencode([(name, value) for name, value in query if name not in DROPPED])
        given = [value for name, value in query if name == QUERY]
        if not given:
            await self._pass({**scope, "query_string": kept.encode()}, receive, send)
        elif on_a_space() or not any(map(self.operators.knows, given)):
            await _answer(scope, send, 403, ON_A_SPACE if on_a_space() else ELSEWHERE)
        else:
            cookie = self.operators.set_cookie(scope.get("scheme") == "https")
            headers = {"location": f"./?{kept}" if kept else "./", "set-cookie": cookie}
            await _answer(scope, send, 303, "Signed in.", headers)


def allowed(path: str) -> tuple[str, ...]:
    """The methods that are answered at a path. Gradio takes a route with and without a slash at its end."""
    if path.startswith(FOLDERS):
        return GET
    return ROUTES.get(path if path == "/" else path.removesuffix("/"), ())


def path_of(scope: Scope) -> str:
    """The path within the page: a proxy may serve it under a prefix."""
    path, prefix = str(scope.get("path", "")), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


async def _answer(scope: Scope, send: Send, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
    """One sentence: `detail`, which Gradio's own script shows, to the page, plain text to a reader. A socket is closed."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    asked_by_page = path_of(scope).startswith(API)
    kind = "application/json" if asked_by_page else "text/plain; charset=utf-8"
    body = (json.dumps({"detail": sentence}) if asked_by_page else f"{sentence}\n").encode()
    told = {"content-type": kind, "content-length": str(len(body)), "cache-control": "no-store", **(headers or {})}
    told |= {"connection": "close"} if status in (413, 415) else {}  # what was not read of the body is not waited for
    raw = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
