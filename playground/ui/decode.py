"""From what a visitor asked to a run: the one place where the page calls the decoder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from playground.decoding.trace import Finished, Request, Started, Waiting
from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.ui.fields import EXACT, whole
from playground.ui.heading import Heading
from playground.ui.prompt_box import stop_strings
from playground.ui.runs import Run

LONGEST_PROMPT = 20_000
LONGEST_REPLY = 512


def read_request(prompt: str, system: str, prefill: str, stops: str, source: str, seed: Any, length: Any) -> Request:
    """The request of a form. Raises PlaygroundError in one sentence for what the form alone can refuse."""
    texts = {
        "Prompt": prompt,
        "System prompt": system,
        "Beginning of the reply": prefill,
        "Stop strings": stops,
        "Document": source,
    }
    for name, text in texts.items():
        if not isinstance(text, str | None) or len(text or "") > LONGEST_PROMPT:
            raise PlaygroundError(f"{name} must be text of at most {LONGEST_PROMPT:,} characters.")
    if not (prompt or "").strip():
        raise PlaygroundError("Write a prompt first, or pick one of the gallery.")
    seed, length = whole("Seed", seed, 0, EXACT), whole("Length", length, 1, LONGEST_REPLY)
    given = source if (source or "").strip() else None
    return Request(prompt, system or None, prefill or "", stop_strings(stops), seed, length, source=given)


def grow(parts: Parts, run: Run, specs: Sequence[str]) -> Iterator[None]:
    """Decode all lanes of `run` in one call; yields after every step, with or without new tokens, and while it waits.

    Closing it stops the decoder and freezes the run.
    """
    began = time.monotonic()
    try:
        with closing(parts.stream(run.request, specs)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Started):
                    heads = [head(parts, spec, run.request.begun) for spec in specs]
                    run.start(event.traces, heads, token_names(parts))
                elif isinstance(event, Finished):
                    run.finish(event.traces)
                elif isinstance(event, Waiting):
                    run.ahead = event.ahead
                else:
                    run.append(event)
                    run.seconds = time.monotonic() - began
                yield
                if run.stopped:
                    return
    except Exception:
        run.cancel("error")
        raise
    finally:
        run.cancel()


def head(parts: Parts, text: str, prefill: str, label: str | None = None) -> Heading:
    """The heading of the lane with this spec."""
    return Heading(parts.catalogue.parse(text), prefill, label)


def token_names(parts: Parts) -> dict[int, str]:
    """What the tokens are called that stand for no text: those that end a reply, and the others as the tokenizer spells them."""
    model = parts.language_model
    return {**model.control_tokens, **dict.fromkeys(model.end_ids, "end of reply")}
