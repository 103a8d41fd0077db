"""Hugging Face ZeroGPU: a decorated call runs in a forked worker that holds a GPU for a stated time.

All lanes of a run decode in one call, and everything the app needs is yielded out of it. Where the `spaces` package is
absent, a function stays what it is.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator

from playground.decoding.trace import Event, Request

Decode = Callable[[Request, tuple[str, ...], tuple[int, ...] | None], Iterator[Event]]
SECONDS_TO_START = 10
TOKENS_PER_SECOND = 20


def present() -> bool:
    """Whether the `spaces` package is there."""
    return importlib.util.find_spec("spaces") is not None


def on_gpu(decode: Decode) -> Decode:
    """`decode` under `@spaces.GPU` where that package is present, else `decode` itself."""
    if not present():
        return decode
    decorated: Decode = importlib.import_module("spaces").GPU(duration=seconds_wanted)(decode)
    return decorated


def seconds_wanted(request: Request, specs: tuple[str, ...], replicas: tuple[int, ...] | None = None) -> int:
    """GPU seconds to ask for: a shorter request waits less in the queue. Lanes that follow another one take a second pass."""
    passes = 2 if any("of=" in spec for spec in specs) else 1
    return SECONDS_TO_START + passes * -(-request.max_tokens // TOKENS_PER_SECOND)
