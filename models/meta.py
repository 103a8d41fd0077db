"""What made a trained head: the language model it belongs to, its grid, its training, its figures; NAME.json beside the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from models.kinds import GRID_KINDS, KINDS

FORMAT = "adaptive-decoder/1"


@dataclass(frozen=True)
class Base:
    """The language model that a head belongs to: its id, revision, hidden size and vocabulary size."""

    model: str
    revision: str
    hidden_size: int
    vocab_size: int

    @classmethod
    def of(cls, model: Any) -> Base:
        """The base that a loaded language model is."""
        return cls(model.name, model.revision, model.hidden_size, model.vocab_size)


@dataclass(frozen=True)
class Meta:
    """What made a head.

    grid                    the temperatures, in rising order; output k of the head is grid[k]; empty where it has no grid
    width                   hidden size of the head; 0 where it has none
    loss                    name of the training loss
    parent                  id of the checkpoint that the training started from, or None for a uniform start
    data_sha256             of the training data
    metrics                 held-out figures
    temperature_histogram   share of each grid temperature under argmax on held-out prompts; the blind `shuffled` control draws from it
    settings                further numbers that the head or its policy needs
    command, commit, torch  the command line, the commit of this repository, the version of torch
    """

    kind: str
    base: Base
    grid: tuple[float, ...]
    width: int
    loss: str
    parent: str | None
    data_sha256: str
    metrics: Mapping[str, Any]
    temperature_histogram: tuple[float, ...]
    command: str
    commit: str
    torch: str = field(default=torch.__version__)
    settings: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Meta:
        """Raises KeyError, TypeError or ValueError where `record` is not the meta of a head."""
        if record["format"] != FORMAT or record["kind"] not in KINDS:
            raise ValueError
        values = {key: value for key, value in record.items() if key not in ("format", "weights_sha256")}
        base = Base(**values.pop("base"))
        grid = tuple(float(t) for t in values.pop("grid"))
        histogram = tuple(float(share) for share in values.pop("temperature_histogram"))
        if (
            bool(grid) != (record["kind"] in GRID_KINDS)
            or list(grid) != sorted(set(grid))
            or not all(0 <= t <= 10 for t in grid)
            or len(histogram) != len(grid)
        ):
            raise ValueError
        sizes = (base.hidden_size, base.vocab_size, values["width"])
        if not all(isinstance(size, int) and 0 <= size < 2**24 for size in sizes) or 0 in sizes[:2]:
            raise ValueError
        settings = {str(key): float(value) for key, value in values.pop("settings", {}).items()}
        if not all(math.isfinite(value) for value in settings.values()):
            raise ValueError
        return cls(base=base, grid=grid, temperature_histogram=histogram, settings=settings, **values)
