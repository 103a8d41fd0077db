"""What a request must be before anything is decoded."""

from __future__ import annotations

from playground.decoding.trace import Request
from playground.errors import PlaygroundError

FIELDS = {  # as the page calls them
    "prompt": "The prompt",
    "system": "The system prompt",
    "prefill": "The beginning of the reply",
    "source": "The document",
}


def checked_request(request: Request) -> Request:
    """The request itself; PlaygroundError in one sentence where it cannot be decoded."""
    if not request.prompt.strip():
        raise PlaygroundError("`prompt` must not be empty; write what the model should answer.")
    if request.source is not None and not request.source.strip():
        raise PlaygroundError("`source` must not be empty; give the document's text, or leave it out.")
    texts = (
        ("prompt", request.prompt),
        ("system", request.system or ""),
        ("prefill", request.prefill),
        ("source", request.source or ""),
    )
    for name, text in texts:
        odd = next(
            (c for c in text if (ord(c) < 32 and c not in "\t\n\r") or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000), None
        )
        if odd is not None:
            raise PlaygroundError(
                f"`{name}` must be plain text without control characters, but contains U+{ord(odd):04X}; remove it.",
                f"{FIELDS[name]} must be plain text without control characters, but contains U+{ord(odd):04X}; remove it.",
            )
    if not 0 <= request.seed < 2**63:
        raise PlaygroundError(f"`seed` must be a whole number from 0 to 2**63 − 1, got {request.seed}.")
    if request.max_tokens < 1:
        raise PlaygroundError(f"`max_tokens` must be at least 1, got {request.max_tokens}.")
    if any(not stop for stop in request.stop):
        raise PlaygroundError("`stop` must not be an empty string.")
    return request


def with_source(prompt: str, source: str | None) -> str:
    """The user's turn: the source document, a blank line, the prompt; or the prompt alone."""
    return prompt if source is None else f"{source}\n\n{prompt}"
