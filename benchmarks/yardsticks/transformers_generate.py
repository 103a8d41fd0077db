"""transformers' `generate` over the same weights: one reply after the other, sampled at a temperature."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.measure.lanes import Timed
from models.loading import load_language_model
from playground.config import Settings


class Generate:
    """The plain transformers model of the settings in one dtype ("float32" or "bfloat16")."""

    def __init__(self, settings: Settings, dtype: str) -> None:
        self._loaded = load_language_model(
            settings.model, settings.revision, "float32", settings.device, settings.cache_folder
        )
        self._model: Any = self._loaded.model.to(getattr(torch, dtype))

    @torch.inference_mode()
    def reply(self, prompt: str, tokens: int, temperature: float, seed: int) -> Timed:
        """One reply of exactly `tokens` tokens: no end token, no filter, one draw a token."""
        ids = torch.tensor([self._loaded.encode_chat(prompt)], device=self._model.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            began, worked = time.perf_counter(), time.process_time()
            made = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=None,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                eos_token_id=[],
                pad_token_id=0,
            )
            seconds, work = time.perf_counter() - began, time.process_time() - worked
        return Timed(made.shape[1] - ids.shape[1], seconds, seconds, work)
