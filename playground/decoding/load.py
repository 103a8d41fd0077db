"""What a request takes of the machine while it decodes: rows of a step, and positions of key-value cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playground.decoding.decoders.lockstep import Lockstep
from playground.decoding.policies.base import Row
from playground.decoding.session import Session


@dataclass(frozen=True)
class Load:
    """rows        that a step of the request has, padding included
    positions   of cache that its rows hold at the end, summed over the rows; each is one key and one value a layer"""

    rows: int = 0
    positions: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.rows + other.rows, self.positions + other.positions)

    def within(self, other: Load) -> bool:
        return self.rows <= other.rows and self.positions <= other.positions


def load_of(session: Session, lanes: Sequence[Row]) -> Load:
    """The most that a session needs at any time, as if all its lanes ran at once and to their full length."""
    decoders = [row.spec.kind.decoder for row in lanes]
    shared = decoders.count(None)
    rows = Lockstep.rows_of(session, shared) if shared else 0
    for decoder, row in zip(decoders, lanes, strict=True):
        rows += decoder.rows(session, row.spec.values) if decoder is not None else 0
    kept = len(session.prompt_ids)  # the session's own row, from which every decoder begins
    return Load(rows, rows * (kept + session.length) + kept)
