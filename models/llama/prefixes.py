"""What was read lately: the keys and values of prompts, to go on from where two prompts part."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from models.llama.keyvalues import KeyValues

PIECE = 32  # tokens of a prompt that are read at once; what is reused is a whole number of pieces
ROOM = 1 << 27  # bytes


class Prefixes:
    """The most recently read prompts, bounded in bytes; the least recently used one goes first. Any thread may ask.

    A prompt's cache is kept itself, not a copy: whoever decodes from it forks it, so its positions stay what they are.
    Only what has been read of it by the time it is asked for counts.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._kept: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()
        self._room, self._lock = room, threading.Lock()

    def keep(self, ids: Sequence[int], cache: KeyValues) -> None:
        """Remember a cache that holds, or will hold, these tokens first."""
        with self._lock:
            self._kept[tuple(ids)] = cache
            self._kept.move_to_end(tuple(ids))
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._room:
                self._kept.popitem(last=False)

    def known(self, ids: Sequence[int]) -> KeyValues | None:
        """A new cache with the longest known beginning of these tokens, at most all of them but one; None without one."""
        with self._lock:
            usable = [(self._shared(tuple(ids), kept, cache), kept) for kept, cache in self._kept.items()]
            count, kept = max(usable, default=(0, ()))
            if count == 0:
                return None
            self._kept.move_to_end(kept)
            return self._kept[kept].head(count, len(ids) + PIECE)

    @staticmethod
    def _shared(ids: tuple[int, ...], kept: tuple[int, ...], cache: KeyValues) -> int:
        """How many tokens of `ids` can be taken over, in whole pieces."""
        most = min(len(ids) - 1, len(kept), cache.length)
        shared = next((i for i in range(most) if ids[i] != kept[i]), most)
        return shared // PIECE * PIECE


def _bytes(cache: KeyValues) -> int:
    return cache.values.numel() * cache.values.element_size()
