"""The kinds of learned predictors: what a checkpoint may be, and the module that its weights fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from models.adaptive_decoder import AdaptiveDecoder
from models.auto_deco import AutoDeco
from models.difficulty_probe import DifficultyProbe
from models.tempnet import HIGH, LOW, TempNet
from models.tuned_lens import TunedLens

GRID_KINDS = ("adaptive-token", "adaptive-sequence")

Builder = Callable[[int, int, int, int, Mapping[str, float]], nn.Module]


def _adaptive(hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]) -> nn.Module:
    return AdaptiveDecoder(hidden, temperatures, width)


def _tuned_lens(
    hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]
) -> nn.Module:
    return TunedLens(hidden)


def _auto_deco(hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]) -> nn.Module:
    return AutoDeco(hidden, width)


def _difficulty_probe(
    hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]
) -> nn.Module:
    return DifficultyProbe(hidden, width)


def _tempnet(hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]) -> nn.Module:
    full = bool(settings.get("full", 0))
    return TempNet(vocabulary if full else hidden, full, settings.get("low", LOW), settings.get("high", HIGH), width)


KINDS: Mapping[str, Builder] = {
    "adaptive-token": _adaptive,
    "adaptive-sequence": _adaptive,
    "tuned-lens": _tuned_lens,
    "auto-deco": _auto_deco,
    "difficulty-probe": _difficulty_probe,
    "tempnet": _tempnet,
}


def build(
    kind: str, hidden: int, vocabulary: int, width: int, temperatures: int, settings: Mapping[str, float]
) -> nn.Module:
    """An untrained module of `kind` for a model with this hidden size and vocabulary."""
    return KINDS[kind](hidden, vocabulary, width, temperatures, settings)
