"""Token ids to text pieces as they come: never half a character, and the pieces join to the whole decoded text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
LONGEST_CHARACTER = 4  # bytes of a UTF-8 character


class TextPieces:
    """Decodes one lane incrementally.

    A piece is held back while the text ends inside a multi-byte character; the token that completes it gets the whole
    character. Each decode looks only at a window that starts at the last clean boundary but one.
    `context` are the ids the reply continues (a prefill), which keeps the blank before the first word. `text_of` is
    `decode` of one token where a caller remembers that: a token then costs one decode instead of two. `copy.copy` makes a
    decoder that goes its own way.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        context: Sequence[int] = (),
        text_of: Callable[[int], str] | None = None,
    ) -> None:
        self._decode, self._text_of = decode, text_of
        self._window = list(context[-LONGEST_CHARACTER - 1 :])
        self._shown = decode(self._window) if self._window else ""
        self._boundary = len(self._window)

    def push(self, token: int) -> str:
        """The characters that `token` completed."""
        self._window = [*self._window, token]
        text = self._decode(self._window)
        return "" if text.endswith(REPLACEMENT) else self._take(text)

    def flush(self) -> str:
        """What was held back when the reply ended inside a character."""
        return self._take(self._decode(self._window))

    def _take(self, text: str) -> str:
        piece = text[len(self._shown) :]
        self._window = self._window[self._boundary :]
        self._boundary = len(self._window)
        if self._text_of is not None and self._boundary == 1:
            self._shown = self._text_of(self._window[0])
        else:
            self._shown = self._decode(self._window)
        return piece
