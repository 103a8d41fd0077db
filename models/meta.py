"""What made a trained head: the language model it belongs to, its grid, its training, its figures; NAME.json beside the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

import torch

from models.kinds import GRID_KINDS, KINDS

FORMAT = "adaptive-decoder/1"
TEXTS = ("loss", "data_sha256", "command", "commit", "torch")
SHOWN = ("held_out_accuracy", "held_out_pairs")  # of the training's figures
WIDTHLESS = ("tuned-lens",)  # kinds of one layer
LONGEST = 4096  # characters of a model's name
LOSS = 100  # characters of a loss's name, which the page shows


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
        """Raises ValueError, or what a value of another type raises, where `record` is not the meta of a head."""
        _require(record["format"] == FORMAT and record["kind"] in KINDS)
        values = {key: value for key, value in record.items() if key not in ("format", "weights_sha256")}
        base = _base(values.pop("base"))
        grid, histogram = _numbers(values.pop("grid")), _numbers(values.pop("temperature_histogram"))
        _require(bool(grid) == (record["kind"] in GRID_KINDS) and len(histogram) == len(grid))
        _require(list(grid) == sorted(set(grid)) and all(0 <= t <= 10 for t in grid))
        _require(not grid or (min(histogram) >= 0 and abs(sum(histogram) - 1) < 1e-3))
        _require(_size(values["width"]) and (values["width"] > 0 or record["kind"] in WIDTHLESS))
        settings = dict(zip(record.get("settings", {}), _numbers(values.pop("settings", {}).values()), strict=True))
        _require(all(isinstance(values[name], str) for name in TEXTS if name in values))
        _require(len(values["loss"]) <= LOSS and values["loss"].isprintable())
        _require(isinstance(values["parent"], str | NoneType))
        _check_metrics(values["metrics"])
        return cls(base=base, grid=grid, temperature_histogram=histogram, settings=settings, **values)


def _base(record: Mapping[str, Any]) -> Base:
    base = Base(**record)
    _require(all(isinstance(name, str) and len(name) <= LONGEST for name in (base.model, base.revision)))
    _require(all(_size(size) and size > 0 for size in (base.hidden_size, base.vocab_size)))
    return base


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    """What the policies and the page take from the figures must be numbers; the rest is only kept."""
    training = metrics.get("training", {})
    taken = [metrics.get("matched_entropy_temperature"), *(training.get(name) for name in SHOWN)]
    _numbers(value for value in taken if value is not None)


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    """The values as floats; none of another type, NaN or infinite."""
    found = tuple(values)
    _require(all(isinstance(value, int | float) and not isinstance(value, bool) for value in found))
    numbers = tuple(map(float, found))
    _require(all(map(math.isfinite, numbers)))
    return numbers


def _size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**24


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError
