"""Rotary embeddings whose angles depend on how much has been read: what they were when a token was decoded.

A `longrope` model (Ding et al. 2024, arXiv 2402.13753) turns by other angles once it has read more than its original
length, a `dynamic` one (NTK-aware scaling) by other angles at every token beyond it. transformers keeps the angles of the
last pass in the module, so a pass would depend on what was read before it, for whomever; here it depends on its own text
only.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Stretching:
    """The rotary embeddings of one model that change as it reads; nothing happens where there are none."""

    def __init__(self, model: Any) -> None:
        found = [(module, *kind) for module in model.modules() for kind in _kinds(module)]
        self._model = model
        self._dynamic = [(module, prefix) for module, prefix, kind in found if "dynamic" in kind]
        self._long = [_original(module, prefix) for module, prefix, kind in found if kind == "longrope"]

    @property
    def acts(self) -> bool:
        return bool(self._dynamic or self._long)

    def forget(self) -> None:
        """Before a pass: the angles of a model that has read nothing yet. The pass then takes those of its own length."""
        for module, prefix in self._dynamic:
            module.max_seq_len_cached = module.original_max_seq_len
            if prefix:
                setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
            now = getattr(module, f"{prefix}inv_freq")
            original = getattr(module, f"{prefix}original_inv_freq").to(now.device)
            module.register_buffer(f"{prefix}inv_freq", original, persistent=False)

    def pieces(self, prompt: int, length: int) -> list[int]:
        """How many tokens of `length` go through the model at once, so that each is turned as when it was decoded."""
        if self._dynamic:
            first = min(length, max(prompt, min(module.original_max_seq_len for module, _ in self._dynamic)))
            return [first] + [1] * (length - first)
        cuts = sorted({cut for cut in self._long if prompt <= cut < length})
        return [stop - start for start, stop in zip([0, *cuts], [*cuts, length], strict=True) if stop > start]

    def reads_again(self, ids: Tensor, tokens: Tensor, state: Any) -> bool:
        """Whether `generate` gives up the `state` kept of `ids` [B, L] before it reads the last `tokens` [B, T] of them."""
        if not self._long or state is None:
            return False
        prepared = self._model.prepare_inputs_for_generation(
            ids, past_key_values=state, next_sequence_length=tokens.shape[1], use_cache=True
        )
        return prepared.get("past_key_values") is None


def _kinds(module: Any) -> list[tuple[str, str]]:
    """The rotary kinds of a module, each with what its buffers' names begin with."""
    kind = getattr(module, "rope_type", None)
    if isinstance(kind, dict):
        return [(f"{layer}_", str(name)) for layer, name in kind.items()]
    return [("", kind)] if isinstance(kind, str) and hasattr(module, "inv_freq") else []


def _original(module: Any, prefix: str) -> int:
    rope = module.config.rope_parameters
    return int((rope[prefix[:-1]] if prefix else rope)["original_max_position_embeddings"])
