"""transformers' `generate` over a folder or a GGUF file: the reference of every model that it reads, and its own noise."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor

INT8 = 127
TABLE = "a table of float16 for GELU"  # what llama.cpp has, so that it differs from exact arithmetic


class TransformersLogits:
    """The model in float32, as transformers loads it by itself. `cached` says whether it keeps what it has read."""

    def __init__(self, model: Any, cached: bool = True) -> None:
        self._cached = cached
        self.model = model.eval()
        self._rounded: dict[str, Any] = {}

    @classmethod
    def of(cls, path: Path, cached: bool = True) -> TransformersLogits:
        if path.is_dir():
            return cls(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), cached)
        return cls(AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32), cached)

    @torch.inference_mode()
    def logits(self, prompt: Sequence[int], reply: Sequence[int] | int) -> Tensor:
        """[T, V] that `generate` draws a given reply from, or its likeliest tokens of this number."""
        ids = torch.tensor([list(prompt)])
        forced = [] if isinstance(reply, int) else [_Forced(len(prompt), reply)]
        made = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=reply if isinstance(reply, int) else len(reply),
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            logits_processor=forced,
            output_logits=True,
            return_dict_in_generate=True,
            use_cache=self._cached,
        )
        return torch.cat(made.logits).float()

    @torch.inference_mode()
    def moved(self, precision: str, prompt: Sequence[int], reply: Sequence[int]) -> Tensor:
        """How far each logit [T, V] of a reply moves when nothing but the precision of the arithmetic changes, in one pass."""
        rows = torch.tensor([[*prompt, *reply[:-1]]])
        if precision not in self._rounded:
            self._rounded[precision] = _rounded(self.model, precision)
        plain = self.model(rows, use_cache=False).logits[0, -len(reply) :].double()
        try:
            return self._rounded[precision](rows, use_cache=False).logits[0, -len(reply) :].double() - plain
        except RuntimeError:  # not every module knows float64, or bfloat16 throughout
            if precision == "float32":
                return torch.zeros_like(plain)
            weights = copy.deepcopy(self.model).bfloat16().float()
            return weights(rows, use_cache=False).logits[0, -len(reply) :].double() - plain


class _LookedUp(torch.nn.Module):
    """An activation as llama.cpp looks it up: in a table of float16."""

    def __init__(self, activation: torch.nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x.half().float()).half().float()


class _Forced(LogitsProcessor):
    """Leaves only the reply's own next token; the logits that `generate` reports are those before it."""

    def __init__(self, start: int, reply: Sequence[int]) -> None:
        self._start, self._reply = start, reply

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        only = torch.full_like(scores, -torch.inf)
        only[:, self._reply[input_ids.shape[1] - self._start]] = 0.0
        return only


@torch.no_grad()
def _rounded(model: Any, precision: str) -> Any:
    """The model as the precision has it; float32 is compared with float64."""
    made = copy.deepcopy(model)
    if precision == "float32":
        if hasattr(made, "set_experts_implementation"):
            made.set_experts_implementation("eager")  # the grouped product has no float64
        return made.double()
    if precision == TABLE:
        for part in list(made.modules()):
            for name, child in part.named_children():
                if "gelu" in type(child).__name__.lower():
                    setattr(part, name, _LookedUp(child))
        return made
    if precision == "float16":
        return made.half().float()
    if precision == "int8":
        for part in made.modules():
            if isinstance(part, torch.nn.Linear):
                scale = part.weight.abs().amax(-1, keepdim=True) / INT8
                part.weight.copy_((part.weight / scale).round() * scale)
    return made.bfloat16()
