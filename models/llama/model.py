"""A Llama-like model on a CPU as a language model: many callers' rows in one pass, prompts read in pieces and kept.

A prompt is always read in the same pieces of PIECE tokens, whoever reads it and whatever is known of it already, so what
a later request reuses is bit for bit what it would have computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from models.language_model import LanguageModel, Output
from models.llama.kernels import same_bits
from models.llama.keyvalues import KeyValues, Ragged, parts_of
from models.llama.network import Network, counted
from models.llama.prefixes import PIECE, Prefixes
from models.threads import Threads, at_most

TRIED_LAYERS, MUCH = 2, 2000  # layers and positions that a comparison of threads goes through
TEACHER_PIECE = 256  # tokens of a teacher-forced pass that go through the layers at once
ALONE = 8  # rows that a step of up to four lanes is filled to where a row's bits depend on its company


class LlamaModel(LanguageModel):
    """See the module docstring. `reference` loads the same weights with transformers, for what needs its modules.
    `threads` says how many a pass takes; None takes what PyTorch is set to.
    """

    joins = True

    def __init__(
        self,
        network: Network,
        reference: Callable[[], LanguageModel],
        merges: bool,
        threads: Threads | None = None,
        **said: Any,
    ) -> None:
        super().__init__(**said)
        self.network, self.merges, self.threads, self._reference = network, merges, threads, reference
        self.vocab_size, self.hidden_size, self.parameters = network.vocab_size, network.hidden_size, network.parameters
        self.depth = len(network.layers)
        self.position_bytes = self.depth * 2 * network.key_heads * network.size * 4
        self._prefixes = Prefixes()
        self._loaded: LanguageModel | None = None

    @property
    def model(self) -> Any:
        if self._loaded is None:
            self._loaded = self._reference()
        return self._loaded.model

    def first_layers(
        self, layers: int, last: Callable[[Tensor], Tensor], parameters: int, name: str, revision: str
    ) -> LlamaModel:
        """The first layers of this model with `last`, of so many `parameters` more, in place of its norm; no weight is copied."""
        cut = LlamaModel(
            self.network.first(layers, last, parameters),
            self._reference,
            self.merges,
            self.threads,
            tokenizer=self.tokenizer,
            name=name,
            revision=revision,
            precision=self.precision,
            context_length=self.context_length,
            end_ids=self.end_ids,
        )
        cut.precision_reason = self.precision_reason
        return cut

    def rows_for(self, lanes: int) -> int:
        return lanes if self.merges or lanes > ALONE // 2 else ALONE

    @torch.inference_mode()
    def begin(self, ids: Sequence[int]) -> tuple[KeyValues, list[Tensor]]:
        cache = self._prefixes.known(ids) or self.network.empty(len(ids) + PIECE)
        rest = torch.tensor([list(ids)[cache.length :]])
        self._prefixes.keep(ids, cache)
        return cache, list(rest.split(PIECE, dim=1))

    @torch.inference_mode()
    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        feeds: list[tuple[Tensor, KeyValues]] = []
        last: list[int] = []
        counts, place = [], 0
        for tokens, cache in asks:
            parts = parts_of(cache)
            feeds += zip(tokens.split([part.rows for part in parts]), parts, strict=True)
            last += range(place + tokens.shape[1] - 1, place + tokens.numel(), tokens.shape[1])
            counts.append(tokens.shape[0])
            place += tokens.numel()
        with self._few_threads():
            states = self.network.states(feeds)
            hidden = self.network.norm(states if len(last) == len(states) else states[last])
            logits = self.network.unembed(hidden).float()
        counted(feeds)
        return [Output(*pair) for pair in zip(logits.split(counts), hidden.split(counts), strict=True)]

    def fork(self, cache: KeyValues) -> KeyValues:
        return cache.fork()

    def expand(self, cache: KeyValues, rows: int) -> KeyValues:
        return cache.expand(rows)

    @torch.inference_mode()
    def join(self, caches: Sequence[KeyValues], counts: Sequence[int]) -> Ragged:
        return Ragged([cache.fork().expand(count) for cache, count in zip(caches, counts, strict=True)])

    def select(self, cache: KeyValues, rows: Sequence[int]) -> KeyValues:
        return cache.select(rows)

    @torch.inference_mode()
    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        return self.teacher_forced(prompt_ids, reply_ids)[1]

    @torch.inference_mode()
    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        hidden = self.features(prompt_ids, reply_ids)
        with self._few_threads():
            return hidden, torch.cat([self.network.unembed(piece).float() for piece in hidden.split(TEACHER_PIECE)])

    @torch.inference_mode()
    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        ids = torch.tensor([[*prompt_ids, *reply_ids[:-1]]])
        cache = self.network.empty(ids.shape[1])
        pieces = []
        for piece in ids.split(TEACHER_PIECE, dim=1):
            with self._few_threads():
                pieces.append(self.network.states([(piece, cache)]))
            counted([(piece, cache)])
        return self.network.norm(torch.cat(pieces)[-len(reply_ids) :])

    def _few_threads(self) -> AbstractContextManager[None]:
        return nullcontext() if self.threads is None else self.threads.few_enough()


def rows_keep_their_bits(network: Network) -> bool:
    """Whether a row of this network gets the same bits in any company, by the maps of its first layer and its last."""
    layer, width = network.layers[0], network.heads * network.size
    maps = ((layer.qkv, network.hidden_size), (layer.output, width), (layer.gate_up, network.hidden_size))
    last = ((layer.down, network.feed), (network.unembed, network.hidden_size))
    return all(same_bits(linear, inputs) for linear, inputs in (*maps, *last))


@torch.inference_mode()
def threads_keep_bits(network: Network, most: int) -> bool:
    """Whether one thread and `most` give the same bits, by the first layers and the last map: a piece of a prompt, and a
    step of three rows that have read much.
    """
    cut, found = network.first(TRIED_LAYERS, network.norm), []
    for threads in (1, most):
        with at_most(threads):
            much = cut.empty(MUCH + PIECE)
            much.values.normal_(generator=torch.Generator().manual_seed(0))
            much.length = MUCH
            feeds = [(torch.arange(PIECE)[None], cut.empty(PIECE)), (torch.arange(3)[:, None], much.expand(3))]
            states = cut.norm(cut.states(feeds))
            found.append((states, network.unembed(states[-3:])))
    return all(map(torch.equal, *found))
