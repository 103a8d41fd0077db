"""Entry of `python app.py` and of a Hugging Face Space; `demo` is the page."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys

from playground.openmp import brief_waits

os.environ.update(brief_waits(os.environ))  # before torch is imported
if importlib.util.find_spec("spaces"):  # ZeroGPU wants to be imported before torch
    import spaces  # type: ignore[import-not-found]  # noqa: F401

from models.errors import ModelError
from playground.config import OneSentenceParser, Settings, add_common_flags, settings_from
from playground.errors import PlaygroundError
from playground.parts import load_parts, open_store
from playground.ui import page
from playground.ui.operators import on_a_space


def settings() -> Settings:
    """From the command line, PLAYGROUND_* variables, and the address a Space asks for."""
    parser = OneSentenceParser(prog="python app.py", description="The playground for adaptive decoding.")
    parser.add_argument("--host", help="address to serve (default: 127.0.0.1)")
    parser.add_argument("--port", help="port to serve (default: 7860)")
    add_common_flags(parser)
    flags = vars(parser.parse_args(None if __name__ == "__main__" else []))
    served = {"PLAYGROUND_HOST": os.environ.get("GRADIO_SERVER_NAME", "")}
    return settings_from(flags, served | dict(os.environ))


def require_port(chosen: Settings) -> None:
    """Raises PlaygroundError where the port cannot be served, before half a minute of loading."""
    try:
        family, _, _, _, address = socket.getaddrinfo(chosen.host, chosen.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as server:
            if os.name == "posix":  # elsewhere the option would let two programs share a port
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlaygroundError(taken(chosen)) from None
        raise PlaygroundError(
            f"`host` must be an address of this machine, got {chosen.host!r} ({error.strerror})."
        ) from None


def taken(chosen: Settings) -> str:
    return f"Port {chosen.port} is in use; stop what runs there or choose another with --port N."


def start() -> None:
    """Serve until interrupted; one sentence and exit 2 where that cannot be."""
    try:
        demo.launch(prevent_thread_lock=True)
    except OSError as error:
        if "port" not in str(error).lower():
            raise
        sys.exit(_refused(taken(chosen)))
    print(f"The playground is open at http://{chosen.host}:{chosen.port}", file=sys.stderr, flush=True)
    if not on_a_space():
        link = demo.operators.link(chosen.host, chosen.port)
        print(f"To train heads on the page, open this link and show it to nobody: {link}", file=sys.stderr, flush=True)
    demo.block_thread()


def _refused(sentence: object) -> int:
    print(sentence, file=sys.stderr)
    return 2


try:
    chosen = settings()
    if __name__ == "__main__":
        require_port(chosen)
    votes = open_store(chosen)  # a database that cannot be used is said before the model is loaded
    parts = load_parts(chosen, visitors=True, store=votes)
    demo = page.build(parts)
except (PlaygroundError, ModelError) as error:
    sys.exit(_refused(error))

if __name__ == "__main__":
    start()
