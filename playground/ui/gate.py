"""What of a served page is reachable: the routes that the page itself asks for, and bodies within bounds.

Gradio's other routes answer nobody. Some of them store what strangers send or what a visitor's session holds (`upload`,
`deep_link`), others run any event under a name (`call`, `run`, `api`) or tell about the server; the page needs none of
them, and no interface for programs is documented. A route that the page comes to need takes one line here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

from playground.ui import asked
from playground.ui.answers import API, NOTHING_HERE, Passed, Scope, Send, answer, forgotten, path_of, protected
from playground.ui.bodies import Bodies, Receive, again
from playground.ui.contents import BodyError, parsed
from playground.ui.operators import ELSEWHERE, ON_A_SPACE, QUERY, on_a_space
from playground.ui.unread import Unread

GET, POST = ("GET", "HEAD"), ("POST",)
ANSWERS, EVENT, CALL = f"{API}queue/data", f"{API}queue/join", f"{API}component_server"
ROUTES = {
    "/": GET,
    "/theme.css": GET,
    "/favicon.ico": GET,
    "/preview.png": GET,
    "/robots.txt": GET,
    f"{API}startup-events": GET,  # Gradio asks for it when it is launched
    ANSWERS: ("GET",),
    EVENT: POST,
    CALL: POST,
}
FOLDERS = ("/assets/", "/static/")  # Gradio's own scripts, styles and fonts
DROPPED = (QUERY, "deep_link")  # of the page's address: a secret, and the name of a stored session

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """Stands before Gradio: refuses what the page does not need in one sentence, and signs the operator in.

    `page` is the launched page: its operators, its events and its queue.
    """

    def __init__(self, app: Application, page: Any) -> None:
        self.app, self.page = app, page
        self.bodies, self.unread = Bodies(), Unread()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path, send = path_of(scope), protected(send)
        if scope["type"] != "http" or scope["method"] not in allowed(path):
            await answer(scope, send, 404, NOTHING_HERE)
            return
        try:
            if scope["method"] == "POST":
                await self._take(scope, receive, send, path)
            elif path.removesuffix("/") == ANSWERS:
                await self._listen(scope, receive, send)
            elif path == "/" and scope.get("query_string"):
                await self._open(scope, receive, send)
            else:
                await self._pass(scope, receive, send)
        except BodyError as refused:
            await answer(scope, send, refused.status, refused.sentence)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio's answer; where it fails, one sentence, and no exception's text in the log. It knows HEAD at some routes
        only."""
        passed = Passed(scope, send)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            await self.app(scope, receive, passed)
        except Exception as error:
            await passed.fail(error)

    async def _take(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        body = parsed(await self.bodies.read(scope["headers"], receive))
        if path.removesuffix("/") == CALL:
            wanted = asked.call(body, self.page.blocks)
        else:
            wanted = asked.event(body, self.page.fns)
            await self.unread.admit(wanted["session_hash"], self.page._queue)
        whole = json.dumps(wanted).encode()
        length = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
        scope = {**scope, "headers": [*length, (b"content-length", str(len(whole)).encode())]}
        await self._pass(scope, again(whole, receive), send)

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answers to one visitor's page, as they come."""
        given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("session_hash", [])
        session = asked.session_of(given[0] if len(given) == 1 else None)
        if session not in self.page._queue.pending_messages_per_session:
            await forgotten(send)
            return
        with self.unread.listening(session):
            await self._pass(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page; the operator's link is answered by a cookie and the address without the secret, so that neither the
        address bar nor the history keeps it."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        kept = urlencode([(name, value) for name, value in query if name not in DROPPED])
        given = [value for name, value in query if name == QUERY]
        if not given:
            await self._pass({**scope, "query_string": kept.encode()}, receive, send)
        elif on_a_space() or not any(map(self.page.operators.knows, given)):
            await answer(scope, send, 403, ON_A_SPACE if on_a_space() else ELSEWHERE)
        else:
            cookie = self.page.operators.set_cookie(scope.get("scheme") == "https")
            headers = {"location": f"./?{kept}" if kept else "./", "set-cookie": cookie}
            await answer(scope, send, 303, "Signed in.", headers)


def allowed(path: str) -> tuple[str, ...]:
    """The methods that are answered at a path. Gradio takes a route with and without a slash at its end."""
    if path.startswith(FOLDERS):
        return GET
    return ROUTES["/"] if path == "/" else ROUTES.get(path.removesuffix("/") if path != "//" else path, ())
