"""TinyLM: a one-layer recurrent net with random weights and a byte tokenizer. Fast, and different at every seed.

It satisfies the engine's Model protocol. Ids 0–255 are bytes, 256 ends a reply; user text is only ever bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

END = 256
VOCABULARY = 257


@dataclass(frozen=True)
class TinyOutput:
    logits: Tensor
    hidden: Tensor


class TinyLM:
    name, revision, precision = "tiny", "seed-0", "float32"
    context_length = 4096
    end_ids = frozenset({END})
    end_id = END
    control_tokens: dict[int, str] = {}  # noqa: RUF012
    joins, merges = True, True
    piece = 4096  # tokens of a prompt that are read in one pass
    vocab_size = VOCABULARY

    def __init__(self, seed: int = 0, hidden_size: int = 16, end_bias: float = -4.0, sharpness: float = 3.0) -> None:
        noise = torch.Generator().manual_seed(seed)
        self.hidden_size, self.revision = hidden_size, f"seed-{seed}"
        self.embed = torch.randn(VOCABULARY, hidden_size, generator=noise)
        self.mix = torch.randn(hidden_size, hidden_size, generator=noise) / hidden_size**0.5
        self.unembed = torch.randn(hidden_size, VOCABULARY, generator=noise) * sharpness / hidden_size**0.5
        self.bias = torch.zeros(VOCABULARY)
        self.bias[END] = end_bias
        self.bias[128:256] -= 6.0  # mostly ASCII
        self.steps = 0
        self.position_bytes = 1024
        self.parameters = sum(t.numel() for t in (self.embed, self.mix, self.unembed, self.bias))

    def rows_for(self, lanes: int) -> int:
        return lanes

    def encode_chat(self, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
        return list(f"{system or ''}\n{prompt}\n{prefill}".encode())

    def encode_text(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i != END).decode("utf-8", errors="replace")

    def token_text(self, token: int) -> str:
        return self.decode([token])

    def begin(self, ids: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        return [torch.zeros(1, self.hidden_size)], list(torch.tensor([list(ids)]).split(self.piece, dim=1))

    def forward(self, asks: Sequence[tuple[Tensor, list[Tensor]]]) -> list[TinyOutput]:
        self.steps += 1
        return [self._fed(tokens, cache) for tokens, cache in asks]

    def _fed(self, tokens: Tensor, cache: list[Tensor]) -> TinyOutput:
        for column in tokens.T:  # row by row, so that no row's bits depend on those beside it
            rows = zip(cache[0], column, strict=True)
            cache[0] = torch.stack([torch.tanh(row @ self.mix + self.embed[token]) for row, token in rows])
        return self._output(cache[0])

    def prefill(self, ids: Sequence[int]) -> tuple[TinyOutput, list[Tensor]]:
        cache, pieces = self.begin(ids)
        return [self._fed(piece, cache) for piece in pieces][-1], cache

    def step(self, tokens: Tensor, cache: list[Tensor]) -> TinyOutput:
        return self.forward([(tokens[:, None], cache)])[0]

    def expand(self, cache: list[Tensor], rows: int) -> list[Tensor]:
        cache[0] = cache[0].expand(rows, -1)
        return cache

    def fork(self, cache: list[Tensor]) -> list[Tensor]:
        return list(cache)

    def join(self, caches: Sequence[list[Tensor]], counts: Sequence[int]) -> list[Tensor]:
        return [torch.cat([cache[0].expand(n, -1) for cache, n in zip(caches, counts, strict=True)])]

    def select(self, cache: list[Tensor], rows: Sequence[int]) -> list[Tensor]:
        cache[0] = cache[0][list(rows)]
        return cache

    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        return self._output(self.features(prompt_ids, reply_ids)).logits

    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        states = self.features(prompt_ids, reply_ids)
        return states, self._output(states).logits

    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        _, cache = self.prefill(prompt_ids)
        states = [cache[0][0]]
        for token in reply_ids[:-1]:
            self._fed(torch.tensor([[token]]), cache)
            states.append(cache[0][0])
        return torch.stack(states)

    def _output(self, state: Tensor) -> TinyOutput:
        return TinyOutput(torch.stack([row @ self.unembed + self.bias for row in state]), state)
