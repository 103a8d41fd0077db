"""A Gradio page served in this process on a free port of this machine, and its streams read as a browser reads them."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from playground.config import Settings
from playground.ui.page import launch_options


@dataclass(frozen=True)
class Served:
    """`url` ends with a slash; `page` is what is served."""

    url: str
    page: gr.Blocks

    def stream(self, handler: str, data: Sequence[Any]) -> bytes:
        """Every byte of the stream that the event with this handler answers, as a visitor of its own."""
        function = next(number for number, event in self.page.fns.items() if event.name == handler)
        session = uuid.uuid4().hex
        body = {"fn_index": function, "data": list(data), "session_hash": session}
        asked = urllib.request.Request(
            f"{self.url}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(asked).close()
        with urllib.request.urlopen(f"{self.url}gradio_api/queue/data?session_hash={session}") as stream:
            return bytes(stream.read())


@contextmanager
def served(page: gr.Blocks) -> Iterator[Served]:
    """`page` with the app's own launch options."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    page.launch(**launch_options(Settings(port=port)), prevent_thread_lock=True)
    try:
        yield Served(f"http://127.0.0.1:{port}/", page)
    finally:
        page.close(verbose=False)


class OwnSeconds:
    """Processor seconds of this process but for the thread that asks, which stands for the browser."""

    def __init__(self) -> None:
        self.read = self._now()

    def _now(self) -> float:
        return time.process_time() - time.thread_time()

    def spent(self) -> float:
        """Processor seconds since it was made."""
        return self._now() - self.read
