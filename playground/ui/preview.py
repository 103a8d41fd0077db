"""What a link to the page shows elsewhere: its title, description and picture, in place of Gradio's own.

Whoever makes a preview reads the page's head and runs no script, so the head is written before it leaves the server. The
picture's address must be whole: it is that under which the page was asked for, as a proxy tells it.

The page's own calls go to where the browser found the page. Gradio writes there what the `Host` header says, which behind a
proxy that hands on no name is the server's own address: the browser would refuse every call.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from gradio.route_utils import get_root_url
from starlette.requests import Request
from starlette.responses import FileResponse

from playground.ui.answers import path_of
from playground.ui.components import STATIC

Message = dict[str, Any]
PICTURE = "/preview.png"
WIDTH, HEIGHT = 1200, 630
ALT = "Two replies side by side, each token on the colour of the temperature it was drawn at."
HEAD_ENDS = b"<script>window.gradio_config"
GRADIOS = re.compile(rb'[ \t]*<(?:meta\s+(?:property="og:|name="twitter:)|link\s+rel="manifest")[^>]*>\s*')
AFTER = b'<meta charset="utf-8" />'
SCRIPT_ENDS = b"</script>"
GRADIOS_ROOT = re.compile(rb'"root":"[^"]*"')  # of the configuration alone: a quotation mark within a text is escaped
OWN_ROOT = b'\nwindow.gradio_config.root = new URL(".", document.baseURI).href.replace(/[/]$/, "");'
LATER_ROOT = re.compile(rb'\bconst root = "[^"]*";')


class Preview:
    """Stands before Gradio: answers the picture, and writes the head of the page."""

    def __init__(self, app: Callable[..., Awaitable[None]], title: str, description: str) -> None:
        self.app, self.title, self.description = app, title, description

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        path = path_of(scope)
        if path == PICTURE:
            headers = {"cache-control": "public, max-age=86400"}
            await FileResponse(STATIC / "preview.png", headers=headers)(scope, receive, send)
        elif scope["type"] == "http" and path == "/":
            await self.app(scope, receive, _Rewritten(send, lambda html: self.written(html, root_of(scope))))
        else:
            await self.app(scope, receive, send)

    def written(self, html: bytes, root: str) -> bytes:
        """The page with this head, whose calls go to where it is; nothing else behind the head is touched."""
        head, script, rest = html.partition(HEAD_ENDS)
        head = GRADIOS.sub(b"", head).replace(AFTER, AFTER + self.head(root).encode(), 1)
        return head + script + _at_home(rest)

    def head(self, root: str) -> str:
        """The lines of the head, for a page that is served at `root`."""
        picture = root + PICTURE
        named = {"description": self.description, "twitter:card": "summary_large_image"}
        named |= {"twitter:title": self.title, "twitter:description": self.description, "twitter:image": picture}
        shown = {"title": self.title, "description": self.description, "type": "website", "url": f"{root}/"}
        shown |= {"image": picture, "image:type": "image/png", "image:alt": ALT}
        shown |= {"image:width": str(WIDTH), "image:height": str(HEIGHT)}
        lines = [f"<title>{escape(self.title)}</title>", '<link rel="icon" type="image/png" href="./favicon.ico" />']
        lines += [f'<meta name="{name}" content="{escape(text)}" />' for name, text in named.items()]
        lines += [f'<meta property="og:{name}" content="{escape(text)}" />' for name, text in shown.items()]
        return "".join(f"\n\t\t{line}" for line in lines)


def _at_home(scripts: bytes) -> bytes:
    """Gradio's configuration and what follows, with the root that the browser knows in place of the one that headers gave."""
    configuration, end, behind = scripts.partition(SCRIPT_ENDS)
    if not end:
        return scripts
    configuration = GRADIOS_ROOT.sub(b'"root":""', configuration) + OWN_ROOT
    return configuration + end + LATER_ROOT.sub(b"const root = window.gradio_config.root;", behind, count=1)


class _Rewritten:
    """Takes a response's messages and sends it whole, its body rewritten where it is HTML."""

    def __init__(self, send: Any, rewrite: Callable[[bytes], bytes]) -> None:
        self.send, self.rewrite = send, rewrite
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if (
            message["type"] == "http.response.start"
            and (b"content-type", b"text/html; charset=utf-8") in message["headers"]
        ):
            self.start = message
        elif self.start is None or message["type"] != "http.response.body":
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._whole(self.start)

    async def _whole(self, start: Message) -> None:
        body = self.rewrite(self.body) if self.body else b""
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        length = [(b"content-length", str(len(body)).encode())] if self.body else []
        await self.send({**start, "headers": headers + length})
        await self.send({"type": "http.response.body", "body": body})


def root_of(scope: Message) -> str:
    """The address under which the page was asked for, without a slash at its end."""
    return get_root_url(Request(scope), "/", scope.get("root_path") or None)
