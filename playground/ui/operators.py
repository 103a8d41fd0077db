"""Who may train: whoever opened the link that the server printed when it was started.

Where a request comes from proves nothing: a reverse proxy, a tunnel and a page of another site that is open in the
operator's browser all arrive from 127.0.0.1, with or without a header that says so. The link carries a secret that is
made anew at every start and kept in memory alone, so there is no file to read it from and a restart withdraws it. The
browser that opens the link keeps it as a cookie that no script can read.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from gradio.utils import get_space

from playground import zero_gpu

QUERY = "operator"
EVERY_ADDRESS = ("0.0.0.0", "::", "[::]")
ELSEWHERE = (
    "Training is for the operator of this page: open the link that `python app.py` printed when it was last started."
)
ON_A_SPACE = (
    "Training is off on a Space, where a process that computes for minutes has no place; run the playground on your own "
    "machine to train, and bring the head here."
)


def on_a_space() -> bool:
    """Whether nobody may train here."""
    return zero_gpu.present() or bool(get_space())


class Operators:
    """The secret of one start, and who has it. A browser sends its cookies to every port of a host: the name tells them apart."""

    def __init__(self, port: int) -> None:
        self._secret = secrets.token_urlsafe(32)
        self.cookie = f"playground-operator-{port}"

    def link(self, host: str, port: int) -> str:
        """The address that signs a browser in."""
        return f"http://{'127.0.0.1' if host in EVERY_ADDRESS else host}:{port}/?{QUERY}={self._secret}"

    def knows(self, given: str) -> bool:
        """Whether `given` is the secret, compared in constant time."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode())

    def set_cookie(self, https: bool) -> str:
        """The value of `Set-Cookie` for a browser that opened the link: until it is closed, unread by scripts, never sent
        from another site's page."""
        return f"{self.cookie}={self._secret}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if https else ''}"

    def refusal(self, visitor: Any) -> str | None:
        """Why this visitor (a gr.Request) may not train, in one sentence, or None."""
        if on_a_space():
            return ON_A_SPACE
        headers = {str(name).lower(): str(value) for name, value in getattr(visitor, "headers", {}).items()}
        signed_in = any(map(self.knows, _cookies(headers.get("cookie", ""), self.cookie)))
        return None if signed_in and of_this_page(headers) else ELSEWHERE


def of_this_page(headers: Mapping[str, str]) -> bool:
    """Whether no page of another origin asked, by what browsers add and scripts cannot change; names are in lower case.

    SameSite alone is not enough: to a browser all ports of a host are one site. `Sec-Fetch-Site` says it where the page
    came by https or from this machine; else the origin must be the host that was asked.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _cookies(header: str, name: str) -> list[str]:
    """Every value that a `Cookie` header has for this name: a page of another path may have set one more."""
    values = []
    for pair in header.split(";"):
        try:
            read = SimpleCookie(pair.strip())
        except CookieError:
            continue
        values += [morsel.value for key, morsel in read.items() if key == name]
    return values
