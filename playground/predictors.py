"""Learned predictors by name, loaded when first used: what the policies draw on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models import checkpoints
from models.checkpoints import Checkpoint
from models.kinds import GRID_KINDS
from models.language_model import LanguageModel
from models.loading import load_language_model
from models.meta import Base
from models.pairing import same_tokenizer
from models.rowwise import row_by_row
from models.tuned_lens import with_lens
from playground.config import Settings
from playground.decoding.policies.base import Head, Predictor
from playground.decoding.policies.spec import NO_CHECKPOINT
from playground.errors import PlaygroundError
from playground.training.labels.lanes import trained

Stamps = tuple[tuple[str, int, int, int], ...]  # what changes with the files of a checkpoint (models/checkpoints.py)

# the command that trains each kind of checkpoint
COMMANDS = {
    "auto-deco": "auto-deco",
    "difficulty-probe": "difficulty",
    "tempnet": "tempnet",
    "tuned-lens": "tuned-lens",
}


class Predictors:
    """The checkpoints of some folders that fit one model. All raise PlaygroundError or ModelError in one sentence."""

    def __init__(self, model: LanguageModel, folders: Sequence[Path], base: Base, settings: Settings) -> None:
        self._model, self._folders, self._base, self._settings = model, folders, base, settings
        self._heads = functools.lru_cache(maxsize=64)(self._head)
        self._predictors = functools.lru_cache(maxsize=64)(self._predictor)
        self._small_models = functools.lru_cache(maxsize=4)(self._small_model)
        self._second_model = functools.lru_cache(maxsize=1)(self._second)

    def head(self, name: str) -> Head:
        """The head called `name`, as its files are now."""
        return self._heads(name, self._stamps(name))

    def predictor(self, name: str, kind: str) -> Predictor:
        """The predictor of this kind called `name`, as its files are now."""
        return self._predictors(name, kind, self._stamps(name))

    def small_model(self, name: str) -> LanguageModel:
        """The model of --small-model, or the first layers of the large one with the lens called `name`."""
        return self._small_models(name, self._stamps(name))

    def _stamps(self, name: str) -> Stamps:
        return checkpoints.stamps(self._folders, name)

    def _get(self, name: str, kinds: Sequence[str]) -> Checkpoint:
        """The checkpoint called `name`, which must be of one of these kinds."""
        if name == NO_CHECKPOINT:
            missing = f"No trained {'head' if kinds == GRID_KINDS else kinds[0]} fits {self._model.name} yet; choose another policy"
            command = f"python -m playground {COMMANDS.get(kinds[0], 'train')}"
            raise PlaygroundError(f"{missing}, or train one with `{command}`.", f"{missing}.")
        checkpoint = checkpoints.get(self._folders, name, self._base)
        if checkpoint.meta.kind not in kinds:
            raise PlaygroundError(
                f"Checkpoint {name!r} serves {checkpoint.meta.kind!r}; choose one made for {' or '.join(kinds)}, or leave the "
                f"key out."
            )
        return checkpoint

    def _head(self, name: str, stamps: Stamps) -> Head:
        return trained(self._get(name, GRID_KINDS))

    def _predictor(self, name: str, kind: str, stamps: Stamps) -> Predictor:
        checkpoint = self._get(name, (kind,))
        return Predictor(checkpoint.id, kind, _row_by_row(checkpoints.load(checkpoint)), checkpoint.meta.settings)

    def _small_model(self, name: str, stamps: Stamps) -> LanguageModel:
        if self._settings.small_model is not None:
            return self._second_model(self._settings.small_model)
        if name == NO_CHECKPOINT:
            raise PlaygroundError(
                f"No tuned lens fits {self._model.name} yet; name a second model with --small-model, or train a lens with "
                f"`python -m playground tuned-lens`.",
                f"No tuned lens fits {self._model.name} yet; choose another policy.",
            )
        checkpoint = self._get(name, ("tuned-lens",))
        layers, lens = int(checkpoint.meta.settings.get("layers", 0)), checkpoints.load(checkpoint)
        return with_lens(self._model, layers, lens, checkpoint.name, checkpoint.sha256[:16])

    def _second(self, where: str) -> LanguageModel:
        """The model of --small-model, whose tokens are those of the loaded one."""
        settings = self._settings
        small = load_language_model(
            where, None, settings.precision, settings.device, settings.cache_folder, settings.threads
        )
        return same_tokenizer(self._model, small)


def _row_by_row(module: nn.Module) -> Callable[..., Tensor]:
    """The module as a policy calls it: a row does not depend on the rows beside it, to the last bit."""
    rows = row_by_row(module)

    @torch.no_grad()
    def call(*inputs: Tensor) -> Tensor:
        found: Tensor = rows(*(x.cpu() for x in inputs))
        return found

    return call
