"""Any model that transformers loads, run by transformers: the reference for every other way to run it.

Shapes: B rows, T time, V vocabulary, H hidden.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from models.chat.ends import end_ids_of
from models.errors import ModelError
from models.language_model import LanguageModel, Output

STEP_ROWS = 8  # rows of every decode step of up to STEP_ROWS // 2 lanes: see rows_for


@dataclass
class Joined:
    """A cache whose rows are prompts of different lengths, the shorter ones padded on the left by `padding` [B] places."""

    cache: Any
    padding: Tensor


class TransformersModel(LanguageModel):
    """A transformers causal language model on one device, in the precision of its weights."""

    merges = False

    def __init__(self, model: Any, tokenizer: Any, name: str, revision: str, device: torch.device) -> None:
        config = model.config.get_text_config()
        super().__init__(
            tokenizer,
            name,
            revision,
            str(model.dtype).removeprefix("torch."),
            config.max_position_embeddings,
            end_ids_of(model.generation_config, tokenizer),
        )
        self._model, self.device = model.to(device).eval().requires_grad_(False), device
        self.vocab_size, self.hidden_size = model.get_output_embeddings().weight.shape
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.depth = int(config.num_hidden_layers)
        self.position_bytes = self.depth * 2 * _key_width(config) * model.dtype.itemsize
        self.joins = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
        self._hidden: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)

    def _keep_hidden(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        self._hidden = inputs[0]

    @property
    def model(self) -> Any:
        return self._model

    def rows_for(self, lanes: int) -> int:
        """A matrix product rounds a row differently by how many rows stand beside it, and, where threads share the rows,
        by the half of the batch it stands in. Up to four lanes therefore always stand in the first half of eight rows:
        a lane's logits are then the same bits alone and in company. Eight rows cost what four do. More lanes than
        that are equal to float32 rounding only.
        """
        return STEP_ROWS if lanes <= STEP_ROWS // 2 else lanes

    def begin(self, ids: Sequence[int]) -> tuple[Any, list[Tensor]]:
        """A prompt about to be read: an empty cache of one row, and the pieces [1, T] to feed to it."""
        return DynamicCache(config=self._model.config), [torch.tensor([list(ids)])]

    @torch.inference_mode()
    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        """Feed tokens [B, T] to every cache, one after the other; the output at the last token of each."""
        return [self._forward(tokens, cache) for tokens, cache in asks]

    @torch.inference_mode()
    def expand(self, cache: Any, rows: int) -> Any:
        """The prompt's cache for `rows` rows, made from the one-row cache in place."""
        cache.batch_repeat_interleave(rows)
        return cache

    def fork(self, cache: Any) -> Any:
        """A copy of a cache; the two then grow apart."""
        return copy.deepcopy(cache)

    @torch.inference_mode()
    def join(self, caches: Sequence[Any], counts: Sequence[int]) -> Joined:
        """One cache of sum(counts) rows out of one-row caches of any lengths. Raises ModelError for windowed attention."""
        if not self.joins:
            raise ModelError(
                f"{self.name} attends through a window, so prompts of different lengths cannot share its steps; choose a "
                f"policy without a second prompt."
            )
        lengths = [cache.get_seq_length() for cache in caches]
        joined = DynamicCache(config=self._model.config)
        for index, layers in enumerate(zip(*(cache.layers for cache in caches), strict=True)):
            joined.update(
                torch.cat([_padded(layer.keys, max(lengths), n) for layer, n in zip(layers, counts, strict=True)]),
                torch.cat([_padded(layer.values, max(lengths), n) for layer, n in zip(layers, counts, strict=True)]),
                index,
            )
        padding = [max(lengths) - length for length, n in zip(lengths, counts, strict=True) for _ in range(n)]
        return Joined(joined, torch.tensor(padding))

    @torch.inference_mode()
    def select(self, cache: Any, rows: Sequence[int]) -> Any:
        """The cache with these of its rows, in this order, repeats allowed; in place."""
        cache.batch_select_indices(torch.tensor(list(rows), device=self.device))
        return cache

    @torch.inference_mode()
    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced logits [T, V]: row t is what reply token t was, or would be, drawn from."""
        ids = torch.tensor([[*prompt_ids, *reply_ids[:-1]]], device=self.device)
        logits: Tensor = self._model(ids, use_cache=False, logits_to_keep=len(reply_ids)).logits[0]
        return logits.float().cpu()

    @torch.inference_mode()
    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States [T, H] and logits [T, V] of one pass: those of `features` and `score`."""
        logits = self.score(prompt_ids, reply_ids)
        assert self._hidden is not None
        return self._hidden[0, -len(reply_ids) :].float().cpu(), logits

    @torch.inference_mode()
    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced states [T, H]: row t is the state that chose reply token t."""
        ids = torch.tensor([[*prompt_ids, *reply_ids[:-1]]])
        self._forward(ids, None, logits_to_keep=len(reply_ids))
        assert self._hidden is not None
        return self._hidden[0, -len(reply_ids) :].float().cpu()

    def _forward(self, ids: Tensor, cache: Any, logits_to_keep: int = 1) -> Output:
        places: dict[str, Tensor] = {}
        if isinstance(cache, Joined):
            cache, padding = cache.cache, cache.padding[:, None]
            past = cache.get_seq_length()
            places = {
                "attention_mask": (torch.arange(past + ids.shape[1]) >= padding).long().to(self.device),
                "position_ids": (torch.arange(past, past + ids.shape[1]) - padding).to(self.device),
            }
        out = self._model(
            ids.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=logits_to_keep,
            **places,
        )
        assert self._hidden is not None
        return Output(out.logits[:, -1].float().cpu(), self._hidden[:, -1].float().cpu())


def _key_width(config: Any) -> int:
    """Numbers that one position's keys take in a layer, as the common configurations say it."""
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return size * int(getattr(config, "num_key_value_heads", None) or heads)


def _padded(values: Tensor, length: int, rows: int) -> Tensor:
    """[1, heads, T, D] → [rows, heads, length, D], zeros on the left."""
    return torch.nn.functional.pad(values, (0, 0, length - values.shape[-2], 0)).expand(rows, -1, -1, -1)
