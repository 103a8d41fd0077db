"""How answers leave the server: a refusal is one sentence, and every one says which pages may frame it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from playground.ui import faults
from playground.ui.bodies import Message
from playground.ui.operators import on_a_space

API = "/gradio_api/"
ITSELF = "'self'"
OF_THE_HUB = "'self' https://huggingface.co https://*.hf.space"  # where a Space is shown in a frame
NOTHING_HERE = "There is nothing at this address; open the page itself at /."
BUSY = "The page is busy with other visitors; try again in a minute."
NOT_TAKEN = "This is no request that the page makes; reload the page."
FORGOTTEN = "The server does not know this page any more; reload it."
UNREAD = (408, 413, 415)  # what was not read of the body is not waited for

Scope = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def answer(scope: Scope, send: Send, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
    """One sentence: `detail`, which Gradio's own script shows, to the page, plain text to a reader. A socket is closed."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    asked_by_page = path_of(scope).startswith(API)
    kind = "application/json" if asked_by_page else "text/plain; charset=utf-8"
    body = (json.dumps({"detail": sentence}) if asked_by_page else f"{sentence}\n").encode()
    told = {"content-type": kind, "content-length": str(len(body)), "cache-control": "no-store", **(headers or {})}
    told |= {"connection": "close"} if status in UNREAD else {}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def forgotten(send: Send) -> None:
    """The stream of a page that the server does not know, as Gradio's own script understands it."""
    told = {"msg": "unexpected_error", "message": FORGOTTEN, "success": False, "session_not_found": True}
    body = f"data: {json.dumps(told)}\n\n".encode()
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Passed:
    """A `send` for Gradio: its refusals become one sentence, and what HEAD asks for has no body."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self.send = scope, send
        self.begun = self.ended = False

    async def __call__(self, message: Message) -> None:
        if self.ended:
            return
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self.begun = self.ended = True
            await answer(self.scope, self.send, *_refusal(self.scope["method"], message["status"]))
            return
        self.begun = True
        if message["type"] == "http.response.body" and self.scope["method"] == "HEAD":
            message = {**message, "body": b""}
        await self.send(message)

    async def fail(self, error: Exception) -> None:
        """What is said where Gradio fails; a stream that has begun just ends."""
        sentence = faults.sentence(error)
        if not self.begun:
            await answer(self.scope, self.send, 500, sentence)
        elif not self.ended:
            await self.send({"type": "http.response.body", "body": b""})


def _refusal(method: str, status: int) -> tuple[int, str]:
    if status in (429, 503):
        return 503, BUSY
    if status >= 500:
        return 500, faults.UNEXPECTED
    return (400, NOT_TAKEN) if method == "POST" else (404, NOTHING_HERE)


def protected(send: Send) -> Send:
    """A `send` that adds who may frame the answer, that it is what it says, and that no address of it is told to others."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_protection()]}
        await send(message)

    return send_on


def _protection() -> list[tuple[bytes, bytes]]:
    """To a browser all ports of a host are one site: without this a page of another one could frame the operator's."""
    space = on_a_space()
    named = {"content-security-policy": f"frame-ancestors {OF_THE_HUB if space else ITSELF}"}
    named |= {} if space else {"x-frame-options": "SAMEORIGIN"}
    named |= {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
    return [(name.encode(), value.encode()) for name, value in named.items()]


def path_of(scope: Scope) -> str:
    """The path within the page: a proxy may serve it under a prefix."""
    path, prefix = str(scope.get("path", "")), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
