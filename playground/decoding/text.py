"""Token ids to text pieces as they come: never half a character, and the pieces join to the whole decoded text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

REPLACEMENT = "\ufffd"
LONGEST_CHARACTER = 4  # bytes of a UTF-8 character
WINDOW = 8  # tokens before the present ones that a decode looks at, at most


class TextPieces:
    """Decodes one lane incrementally.

    A piece is held back while the text ends inside a multi-byte character; the token that completes it gets the whole
    character. Bytes that can no longer become a character come out as U+FFFD as soon as that is certain, which is a few
    tokens after them: `shares` then says what of the last piece belongs to which of the last tokens, the newest one last.

    Every decode looks at a few tokens before the present ones, among them one with a text, since tokenizers drop the
    blank before the first word. `context` are the ids the reply continues (a prefill). `copy.copy` makes a decoder that
    goes its own way.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._known: tuple[int, ...] = tuple(context[-LONGEST_CHARACTER - 1 :])
        self._shown = decode(self._known) if self._known else ""
        self._held: tuple[int, ...] = ()
        self._apart = False
        self.shares: tuple[str, ...] = ()

    def push(self, token: int) -> str:
        """The characters that became certain with `token`."""
        self._held = (*self._held, token)
        text = self._beyond(self._held)
        if not text:
            self._held = () if self._known else self._held[-WINDOW:]
            self.shares = ("",)
            return ""
        return self._release(text) if text.endswith(REPLACEMENT) else self._take(text)

    def flush(self) -> str:
        """What was held back when the reply ended inside a character."""
        if not self._held:
            self.shares = ()
            return ""
        return self._take(self._beyond(self._held))

    def _take(self, text: str) -> str:
        """All that is held, as `text`; its tokens are what the next ones are looked at behind."""
        known, shown, apart = (*self._known, *self._held), self._shown + text, self._apart
        self.shares = self._divided(self._held, text)
        alone = self._decode(self._held) if apart or len(known) > WINDOW else ""
        if alone.strip():
            known, shown = self._held, alone
        self._known, self._shown, self._held = known, shown, ()
        return text

    def _release(self, text: str) -> str:
        """Of the held tokens, whose text ends with bytes that are no character yet, those that can no longer become one."""
        newest = len(self._held)
        last = newest - LONGEST_CHARACTER + 1
        for count in range(last, max(last - WINDOW, 0), -1):
            piece, rest = self._beyond(self._held[:count]), self._beyond(self._held[count:])
            if piece + rest == text:
                self.shares = (*self._divided(self._held[:count], piece), *[""] * (newest - count))
                self._held = self._held[count:]
                return piece
        self.shares = ("",)
        return ""

    def _divided(self, ids: tuple[int, ...], text: str) -> tuple[str, ...]:
        """What of `text` belongs to each of these tokens: a whole character to the one that completes it, bytes that are
        none to the one that began them."""
        ends = [0]
        for count in range(1, len(ids)):
            part = self._beyond(ids[:count])
            ends.append(len(part) if text.startswith(part) else ends[-1])
        return tuple(text[start:end] for start, end in pairwise([*ends, len(text)]))

    def _beyond(self, ids: tuple[int, ...]) -> str:
        """The text of these tokens behind what is known: alone, where a decoder reads them as one with what stands before
        (SentencePiece's run of bytes, of which one is no character)."""
        whole = self._decode((*self._known, *ids))
        self._apart = not whole.startswith(self._shown)
        return self._decode(ids) if self._apart else whole[len(self._shown) :]
