"""A kind of damage: what it does to a model's files, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

RIGHT, REFUSED, EITHER = "right", "refused", "either"
Damage = Callable[[Path, Random], str]
ALL: Final = ("llama", "qwen3", "gemma2", "gpt_neox")


@dataclass(frozen=True)
class Kind:
    """`damage` changes the copy of a model at a path and says what it did.

    `may` is what may come of it: the reference's tokens for the damaged files (RIGHT), one sentence (REFUSED), or either of
    them (EITHER). Where the reference gives nothing, or would make weights up, only a sentence is allowed.
    """

    name: str
    damage: Damage
    may: str = EITHER
    bases: tuple[str, ...] = ALL
    says: str = ""  # a word that the sentence must hold
