"""A served page for tests: in this process over scripted parts, with the raw bytes that a visitor gets; a tab that can hide."""

from __future__ import annotations

import itertools
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playground.ui.operators import Operators
from playground.ui.page import Page, build
from tests.scripted import ScriptedParts

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A running page; `post` and `event` speak its HTTP as a browser does."""

    url: str
    page: Page

    @property
    def operator_link(self) -> str:
        """What `python app.py` prints for whoever may train."""
        return f"{self.url}?{cookie_of(self.page.operators).replace(self.page.operators.cookie, 'operator')}"

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}gradio_api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def function(self, name: str, index: int = 0) -> int:
        """The number of the event whose handler has this name; `index` where several have."""
        return [number for number, fn in self.page.fns.items() if fn.name == name][index]

    def event(self, function: int, data: list[Any], session: str, **headers: str) -> bytes:
        """Run one event and return every byte of its stream."""
        self.post("queue/join", {"fn_index": function, "data": data, "session_hash": session}, **headers)
        with urllib.request.urlopen(f"{self.url}gradio_api/queue/data?session_hash={session}") as stream:
            return bytes(stream.read())


def cookie_of(operators: Operators) -> str:
    """The `Cookie` header of a browser that is signed in."""
    return operators.set_cookie(False).partition(";")[0]


@contextmanager
def served(parts: ScriptedParts) -> Iterator[Served]:
    port = free_port()
    page = build(parts)  # type: ignore[arg-type]
    page.launch(server_port=port, prevent_thread_lock=True)
    try:
        yield Served(f"http://127.0.0.1:{port}/", page)
    finally:
        page.close(verbose=False)
        parts.store.close()


class Tab:
    """A tab of one window with its like: it is hidden while another one is in front.

    Playwright keeps every page that it opens "visible", whatever stands before it; this one is opened past it.
    """

    def __init__(self, browser: Any, url: str, new_window: bool = False) -> None:
        self._browser, self._numbers, self._answers = browser.new_browser_cdp_session(), itertools.count(1), {}
        made = self._browser.send("Target.createTarget", {"url": url, "newWindow": new_window})
        self._target = {"targetId": made["targetId"]}
        self._browser.on("Target.receivedMessageFromTarget", lambda told: self._keep(json.loads(told["message"])))
        attached = self._browser.send("Target.attachToTarget", {**self._target, "flatten": False})
        self._session = attached["sessionId"]

    def _keep(self, answer: dict[str, Any]) -> None:
        if "id" in answer:
            self._answers[answer["id"]] = answer

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        """One command of the DevTools protocol to this tab."""
        number = next(self._numbers)
        message = json.dumps({"id": number, "method": method, "params": values})
        self._browser.send("Target.sendMessageToTarget", {"sessionId": self._session, "message": message})
        for _ in range(600):
            if number in self._answers:
                return dict(self._answers.pop(number).get("result", {}))
            time.sleep(0.05)
            self._browser.send("Target.getTargets")  # lets Playwright take what has come
        raise TimeoutError(method)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> None:
        """Returns when the expression is true. Raises TimeoutError after a minute."""
        for _ in range(600):
            if self.evaluate(script):
                return
            time.sleep(0.1)
        raise TimeoutError(script)

    def to_front(self) -> None:
        self._browser.send("Target.activateTarget", self._target)

    def close(self) -> None:
        self._browser.send("Target.closeTarget", self._target)
