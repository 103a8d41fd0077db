"""A variant by its number: which damage, to which model, with which random numbers. The same number makes the same files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.damage import config_kinds, gguf_kinds, lying_around, odd_kinds, weights_kinds, words_kinds
from benchmarks.damage.kind import RIGHT, Kind


def _nothing(path: Path, rng: Random) -> str:
    return "no damage"


KINDS = (
    Kind("no damage", _nothing, RIGHT, (*odd_kinds.ALL, *gguf_kinds.FILES)),
    *weights_kinds.KINDS,
    *config_kinds.KINDS,
    *words_kinds.KINDS,
    *odd_kinds.KINDS,
    *gguf_kinds.KINDS,
    *lying_around.KINDS,
)


@dataclass(frozen=True)
class Variant:
    """One damaged model: `base` is the model that was damaged."""

    number: int
    seed: int
    kind: Kind
    base: str

    @property
    def own(self) -> bool:
        """Whether the undamaged model runs in the product's own network."""
        return self.base in ("llama", "qwen3") or self.base.endswith(".gguf")

    def make(self, bases: Path, place: Path) -> tuple[str, str]:
        """The damaged model in the folder `place`: its path, and what was done to it."""
        path = place / self.base
        if (bases / self.base).is_dir():
            shutil.copytree(bases / self.base, path)
        elif (bases / self.base).is_file():
            shutil.copy(bases / self.base, path)
        told = self.kind.damage(path, Random(f"{self.seed} {self.number}"))
        return str(path), told


def variant(number: int, seed: int) -> Variant:
    """Kinds take turns, and each goes through the models it damages."""
    turn, place = divmod(number, len(KINDS))
    kind = KINDS[place]
    return Variant(number, seed, kind, kind.bases[(turn + place) % len(kind.bases)])
