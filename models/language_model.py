"""A frozen causal language model with its tokenizer: encode a chat, read a prompt, step every lane, decode.

Shapes: B rows, T time, V vocabulary, H hidden. Logits are the model's own (soft-capped or scaled where it does that);
the hidden state is what feeds the unembedding, taken at its input. Both come back as float32 on the CPU, where every
policy computes. Two modules do the arithmetic: models.transformers_model for everything that transformers can load, and
models.llama for Llama-like models on a CPU, some ten times faster.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.chat.encoder import Encoder
from models.chat.ends import turn_end
from models.errors import ModelError


@dataclass(frozen=True)
class Output:
    """What the policies read of one position: logits [B, V] and the state that feeds the unembedding [B, H]."""

    logits: Tensor
    hidden: Tensor


class LanguageModel:
    """See the module docstring; what is left open here is said in playground.decoding.model.

    `control_tokens` spells the tokens that stand for no text.

    `name`, `revision` and `precision` are stamped on every trace; `precision_reason` says in a sentence why this precision.
    """

    joins: bool
    merges: bool
    parameters: int
    depth: int
    position_bytes: int
    vocab_size: int
    hidden_size: int
    precision_reason: str = ""

    def __init__(
        self, tokenizer: Any, name: str, revision: str, precision: str, context_length: int, end_ids: frozenset[int]
    ) -> None:
        self.tokenizer, self.name, self.revision, self.precision = tokenizer, name, revision, precision
        self.context_length, self.end_ids = context_length, end_ids
        self.token_text = functools.lru_cache(maxsize=65536)(self._text_inside)
        self.control_tokens = _control_tokens(tokenizer)
        self._chat = Encoder(tokenizer)

    def encode_chat(self, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
        """Token ids of the request; see models.chat.encoder. Raises ModelError when it leaves no room for a reply."""
        limit = self.context_length - 1
        length = len(prompt) + len(system or "") + len(prefill)
        ids = self._chat.encode_chat(prompt, system, prefill) if length <= 32 * self.context_length else None
        if ids is None or len(ids) > limit:
            size = f"{len(ids)} tokens" if ids is not None else f"{length} characters"
            raise ModelError(
                f"The prompt has {size}, but {self.name} reads at most {limit} tokens; shorten the prompt or its source document."
            )
        return self._known(ids)

    def encode_text(self, text: str) -> list[int]:
        """`text` as ordinary tokens, with no template around it."""
        return self._known(self._chat.encode_text(text))

    def _known(self, ids: list[int]) -> list[int]:
        """These ids. Raises ModelError where the model has no row for one: the tokenizer is another model's."""
        most = max(ids, default=0)
        if most >= self.vocab_size:
            raise ModelError(
                f"The tokenizer of {self.name} writes the token {most}, but the model has only {self.vocab_size} tokens; use "
                f"the tokenizer that belongs to the model."
            )
        return ids

    @functools.cached_property
    def end_id(self) -> int:
        """The token that ends a reply: of several, the one that the chat template writes there."""
        written = turn_end(self.tokenizer)
        return written if written in self.end_ids else min(self.end_ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, control tokens left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _text_inside(self, token: int) -> str:
        """The text of a token inside a reply: tokenizers drop the blank before the first word of what they decode."""
        before = self._before
        whole, first = self.decode([*before, token]), self.decode(before)
        return whole[len(first) :] if first and whole.startswith(first) else self.decode([token])

    @functools.cached_property
    def _before(self) -> list[int]:
        """A word for a token to stand behind."""
        return self.encode_text("a")[-1:]

    def prefill(self, ids: Sequence[int]) -> tuple[Output, Any]:
        """Read the prompt at once: the output at its last token (B = 1) and the cache."""
        cache, pieces = self.begin(ids)
        output = [self.forward([(piece, cache)])[0] for piece in pieces][-1]
        return output, cache

    def step(self, tokens: Tensor, cache: Any) -> Output:
        """Feed one token [B] to every row; the cache grows by one position."""
        return self.forward([(tokens[:, None], cache)])[0]

    @property
    def model(self) -> Any:
        """The transformers module, for what needs its parts."""
        raise NotImplementedError

    def rows_for(self, lanes: int) -> int:
        """How many rows a decode step of `lanes` lanes runs with."""
        raise NotImplementedError

    def begin(self, ids: Sequence[int]) -> tuple[Any, list[Tensor]]:
        """A prompt about to be read: a cache of one row that holds what is known of it, and the pieces [1, T] to feed."""
        raise NotImplementedError

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        """Feed tokens [B, T] to every cache; the output at the last token of each."""
        raise NotImplementedError

    def fork(self, cache: Any) -> Any:
        """A copy of a cache; the two then grow apart."""
        raise NotImplementedError

    def expand(self, cache: Any, rows: int) -> Any:
        """The prompt's cache for `rows` rows, made from the one-row cache in place."""
        raise NotImplementedError

    def join(self, caches: Sequence[Any], counts: Sequence[int]) -> Any:
        """One cache of sum(counts) rows out of one-row caches of any lengths."""
        raise NotImplementedError

    def select(self, cache: Any, rows: Sequence[int]) -> Any:
        """The cache with these of its rows, in this order, repeats allowed; in place."""
        raise NotImplementedError

    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced logits [T, V]: row t is what reply token t was, or would be, drawn from."""
        raise NotImplementedError

    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced states [T, H]: row t is the state that chose reply token t."""
        raise NotImplementedError

    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States [T, H] and logits [T, V] of one pass: those of `features` and `score`."""
        raise NotImplementedError


def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that stand for no text, as the tokenizer spells them."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {token: str(entry.content) for token, entry in added.items() if entry.special}
