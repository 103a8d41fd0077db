"""A served page for tests: in this process over scripted parts, with the raw bytes that a visitor gets."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from playground.ui.page import build, launch_options
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
    page: gr.Blocks

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}gradio_api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def function(self, name: str, index: int = 0) -> int:
        """The number of the event whose handler has this name; `index` where several have."""
        return [number for number, fn in self.page.fns.items() if fn.name == name][index]

    def event(self, function: int, data: list[Any], session: str) -> bytes:
        """Run one event and return every byte of its stream."""
        self.post("queue/join", {"fn_index": function, "data": data, "session_hash": session})
        with urllib.request.urlopen(f"{self.url}gradio_api/queue/data?session_hash={session}") as stream:
            return bytes(stream.read())


@contextmanager
def served(parts: ScriptedParts) -> Iterator[Served]:
    port = free_port()
    page = build(parts)  # type: ignore[arg-type]
    page.launch(**launch_options(replace(parts.settings, port=port)), prevent_thread_lock=True)
    try:
        yield Served(f"http://127.0.0.1:{port}/", page)
    finally:
        page.close(verbose=False)
        parts.store.close()
