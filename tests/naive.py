"""The slow reference: one lane, no cache, no batch. The engine must equal it token for token."""

from __future__ import annotations

import torch

from models.language_model import LanguageModel
from playground.decoding.sampling import random_stream
from tests.tiny_lm import TinyLM


def last_logits(model: LanguageModel | TinyLM, ids: list[int]) -> torch.Tensor:
    """Logits [V] after the whole sequence, computed from nothing."""
    if isinstance(model, TinyLM):
        return model.prefill(ids)[0].logits[0]
    with torch.inference_mode():
        return model.model(torch.tensor([ids]), use_cache=False).logits[0, -1].float()


def naive(
    model: LanguageModel | TinyLM,
    prompt: str,
    spec: str,
    seed: int,
    count: int,
    t0: float,
    theta: float = 0.0,
    greedy: bool = False,
) -> list[int]:
    """Tokens of one lane at T = t0·0.8^(theta/H), drawn by hand from the stream of (seed, canonical spec, replica 0)."""
    ids = model.encode_chat(prompt)
    stream = random_stream(seed, spec, 0)
    drawn: list[int] = []
    for _ in range(count):
        logits = last_logits(model, ids + drawn).double()
        u = float(torch.rand(1, dtype=torch.float64, generator=stream))
        if greedy:
            token = int(logits.argmax())
        else:
            p = torch.softmax(logits, -1)
            h = -float((p * p.clamp(min=1e-300).log()).sum())
            temperature = float(f"{t0 * 0.8 ** (theta / h):.9g}")
            q = torch.softmax(logits / temperature, -1)
            token, total = 0, float(q[0])
            while total <= u:
                token += 1
                total += float(q[token])
        drawn.append(token)
        if token in model.end_ids:
            break
    return drawn
