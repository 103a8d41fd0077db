"""Learned predictors by name, loaded when first used: what the policies draw on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models import checkpoints
from models.checkpoints import Base, Checkpoint
from models.language_model import LanguageModel, load_language_model
from models.pairing import same_tokenizer
from models.tuned_lens import with_lens
from playground.config import Settings
from playground.decoding.policies.base import Head, Predictor
from playground.decoding.policies.spec import NO_CHECKPOINT
from playground.errors import PlaygroundError
from playground.training.lanes import trained

Caller = Callable[[nn.Module, LanguageModel], Callable[..., Tensor]]


def _callers() -> Mapping[str, Caller]:
    """How each kind of predictor is called, where calling the module is not enough."""
    return {}


class Predictors:
    """The checkpoints of some folders that fit one model. All raise PlaygroundError or ModelError in one sentence."""

    def __init__(self, model: LanguageModel, folders: Sequence[Path], base: Base, settings: Settings) -> None:
        self._model, self._folders, self._base, self._settings = model, folders, base, settings
        self.head = functools.lru_cache(maxsize=64)(self._head)
        self.predictor = functools.lru_cache(maxsize=64)(self._predictor)
        self.small_model = functools.lru_cache(maxsize=4)(self._small_model)
        self._second_model = functools.lru_cache(maxsize=1)(self._second)

    def _get(self, name: str, kind: str) -> Checkpoint:
        if name == NO_CHECKPOINT:
            raise PlaygroundError(
                f"No trained {kind} fits {self._model.name} yet; choose another policy, or train one with "
                f"`python -m playground train`."
            )
        return checkpoints.get(self._folders, name, self._base)

    def _head(self, name: str) -> Head:
        checkpoint = self._get(name, "head")
        if not checkpoint.meta.grid:
            raise PlaygroundError(
                f"Checkpoint {name!r} serves {checkpoint.meta.kind!r}; choose one made for adaptive-token or adaptive-sequence."
            )
        return trained(checkpoint)

    def _predictor(self, name: str, kind: str) -> Predictor:
        checkpoint = self._get(name, kind)
        if checkpoint.meta.kind != kind:
            raise PlaygroundError(
                f"Checkpoint {name!r} serves {checkpoint.meta.kind!r}; choose one made for {kind!r}, or leave the key out."
            )
        module = checkpoints.load(checkpoint).double()
        call = _callers()[kind](module, self._model) if kind in _callers() else _row_by_row(module)
        return Predictor(checkpoint.id, kind, call, checkpoint.meta.settings, checkpoint.meta.metrics)

    def _small_model(self, name: str) -> LanguageModel:
        """The model of --small-model, or the first layers of the large one with the lens called `name`."""
        if self._settings.small_model is not None:
            return self._second_model(self._settings.small_model)
        if name == NO_CHECKPOINT:
            raise PlaygroundError(
                f"No tuned lens fits {self._model.name} yet; name a second model with --small-model, or train a lens with "
                f"`python -m playground tuned-lens`."
            )
        checkpoint = self._get(name, "tuned-lens")
        if checkpoint.meta.kind != "tuned-lens":
            raise PlaygroundError(f"Checkpoint {name!r} is a {checkpoint.meta.kind}, but a tuned-lens is needed.")
        layers, lens = int(checkpoint.meta.settings.get("layers", 0)), checkpoints.load(checkpoint)
        return with_lens(self._model, layers, lens, checkpoint.name, checkpoint.sha256[:16])

    def _second(self, where: str) -> LanguageModel:
        """The model of --small-model, whose tokens are those of the loaded one."""
        settings = self._settings
        small = load_language_model(where, None, settings.precision, settings.device, settings.cache_folder)
        return same_tokenizer(self._model, small)


def _row_by_row(module: nn.Module) -> Callable[..., Tensor]:
    """The module over the rows one at a time: a row then does not depend on the rows beside it, to the last bit."""

    @torch.no_grad()
    def call(*inputs: Tensor) -> Tensor:
        rows = zip(*(x.cpu().double().split(1) for x in inputs), strict=True)
        return torch.cat([module(*row) for row in rows])

    return call
