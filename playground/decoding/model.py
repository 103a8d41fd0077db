"""What the decoders need of a language model; models.LanguageModel and the tests' TinyLM satisfy it.

Shapes: B rows, T tokens, V vocabulary, H hidden. Outputs are float32 on the CPU. A cache belongs to whoever holds it:
`forward`, `expand` and `select` change it, `fork` makes one that can go its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor


class ModelOutput(Protocol):
    """One position of every row: logits [B, V] and the state that feeds the unembedding [B, H]."""

    @property
    def logits(self) -> Tensor: ...

    @property
    def hidden(self) -> Tensor: ...


class Model(Protocol):
    """A frozen causal language model with its tokenizer.

    `parameters` counts what one token's forward pass reads, `position_bytes` what one position of one row's cache takes; `joins` says whether what `join` makes is read in one pass, `merges`
    whether `forward` serves several callers in one pass, no caller's figures depending on the others to the last bit.
    """

    name: str
    revision: str
    precision: str
    context_length: int
    vocab_size: int
    parameters: int
    position_bytes: int
    joins: bool
    merges: bool
    end_ids: frozenset[int]

    def rows_for(self, lanes: int) -> int: ...
    def encode_chat(self, prompt: str, system: str | None, prefill: str) -> list[int]: ...
    def encode_text(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def token_text(self, token: int) -> str: ...

    def begin(self, ids: Sequence[int]) -> tuple[Any, Sequence[Tensor]]:
        """A prompt about to be read: a cache of one row that already holds what is known of it, and the pieces [1, T]
        still to be fed, at least one."""
        ...

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> Sequence[ModelOutput]:
        """Feed several callers' tokens [B, T], each behind its own cache; every output is at that caller's last token.

        Where a merging model raises, it has advanced no cache.
        """
        ...

    def prefill(self, ids: Sequence[int]) -> tuple[ModelOutput, Any]:
        """Read a prompt at once (`begin`, then `forward`): the output at its last token (B = 1), the cache of one row."""
        ...

    def step(self, tokens: Tensor, cache: Any) -> ModelOutput:
        """Feed one token [B] to every row: `forward` for one caller."""
        ...

    def fork(self, cache: Any) -> Any:
        """A copy of a cache; the two then grow apart."""
        ...

    def expand(self, cache: Any, rows: int) -> Any:
        """A one-row cache made to serve `rows` rows, in place."""
        ...

    def join(self, caches: Sequence[Any], counts: Sequence[int]) -> Any:
        """One cache of sum(counts) rows out of one-row caches of any lengths: counts[0] rows of the first, and so on."""
        ...

    def select(self, cache: Any, rows: Sequence[int]) -> Any:
        """The cache with these of its rows, in this order, repeats allowed; in place."""
        ...

    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced logits [T, V]: row t is what reply token t was, or would be, drawn from."""
        ...
