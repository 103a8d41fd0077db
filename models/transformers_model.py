"""Any model that transformers loads, run by transformers: the reference for every other way to run it.

Shapes: B rows, T time, V vocabulary, H hidden.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.caches import Apart, Kept, empty, padded, size_of
from models.chat.ends import end_ids_of
from models.errors import ModelError
from models.families import Family
from models.language_model import LanguageModel, Output
from models.rotary import Stretching

LEAST = 64  # positions of a row
ROUNDING = 0.3  # of the spread of logits, at most, in bfloat16; a broken cache gives other logits altogether
STEP_ROWS = 8  # rows of every decode step of up to STEP_ROWS // 2 lanes: see rows_for


class TransformersModel(LanguageModel):
    """A transformers causal language model on one device, in the precision of its weights."""

    merges = False

    def __init__(self, model: Any, tokenizer: Any, name: str, revision: str, device: torch.device) -> None:
        self.family = Family.of(model)
        super().__init__(
            tokenizer,
            name,
            revision,
            str(model.dtype).removeprefix("torch."),
            self.family.context_length,
            end_ids_of(model.generation_config, tokenizer),
        )
        self._model, self.device = model.to(device).eval().requires_grad_(False), device
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self._stretching = Stretching(model)
        self.depth = self.family.depth
        self.joins = self.family.plain and not self.family.alone and not self._stretching.acts
        self._hidden: Tensor | None = None
        self._running = threading.Lock()  # a module keeps the state and the rotary angles of a pass in itself
        model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)
        self.vocab_size, self.hidden_size, self.position_bytes = self._tried()

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

        Where experts take the rows that are sent to them, no number of rows helps: such a model runs every lane by itself.
        """
        return STEP_ROWS if lanes <= STEP_ROWS // 2 and not self.family.alone else lanes

    def begin(self, ids: Sequence[int]) -> tuple[Any, list[Tensor]]:
        """A prompt about to be read: an empty cache of one row, and the pieces [1, T] to feed to it."""
        return Kept(), [torch.tensor([list(ids)])]

    @torch.inference_mode()
    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        """Feed tokens [B, T] to every cache, one after the other; the output at the last token of each."""
        return [self._fed(tokens, cache) for tokens, cache in asks]

    @torch.inference_mode()
    def expand(self, cache: Any, rows: int) -> Any:
        """The prompt's cache for `rows` rows, made from the one-row cache in place."""
        return self._apart([cache], [rows]) if self.family.alone else cache.expand(rows)

    def fork(self, cache: Any) -> Any:
        """A copy of a cache; the two then grow apart."""
        return cache.fork()

    @torch.inference_mode()
    def join(self, caches: Sequence[Any], counts: Sequence[int]) -> Any:
        """One cache of sum(counts) rows out of one-row caches of any lengths.

        Where rows with padding would not be what they are alone, every prompt's rows are fed by themselves.
        """
        if self.joins:
            return padded(caches, counts, self._model.config)
        return self._apart(caches, counts)

    def _apart(self, caches: Sequence[Kept], counts: Sequence[int]) -> Apart:
        """Rows of each of these one-row caches, fed by themselves: as many as a step of so many lanes has, or row by row."""
        if self.family.alone:
            rows = [cache.fork() for cache, count in zip(caches, counts, strict=True) for _ in range(count)]
            return Apart(rows, [1] * len(rows))
        parts = [cache.fork().expand(self.rows_for(count)) for cache, count in zip(caches, counts, strict=True)]
        return Apart(parts, list(counts))

    @torch.inference_mode()
    def select(self, cache: Any, rows: Sequence[int]) -> Any:
        """The cache with these of its rows, in this order, repeats allowed; in place."""
        return cache.select(rows)

    @torch.inference_mode()
    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced logits [T, V]: row t is what reply token t was, or would be, drawn from."""
        return self.teacher_forced(prompt_ids, reply_ids)[1]

    @torch.inference_mode()
    def features(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        """Teacher-forced states [T, H]: row t is the state that chose reply token t."""
        return self.teacher_forced(prompt_ids, reply_ids)[0]

    @torch.inference_mode()
    def teacher_forced(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States [T, H] and logits [T, V] of one pass: those of `features` and `score`.

        Where rotary angles depend on how much has been read, in as many passes as they change.
        """
        ids = torch.tensor([[*prompt_ids, *reply_ids[:-1]]])
        pieces = ids.split(self._pieces(len(prompt_ids), ids.shape[1]), dim=1)
        cache, left, states, logits = Kept() if len(pieces) > 1 else None, ids.shape[1], [], []
        for piece in pieces:
            left -= piece.shape[1]
            wanted = min(piece.shape[1], len(reply_ids) - left)
            if wanted > 0 or cache is not None:
                found, state = self._run(piece, cache, max(wanted, 1))
                states.append(state[0, len(state[0]) - wanted :])
                logits.append(found[0, len(found[0]) - wanted :])
        return torch.cat(states).float().cpu(), torch.cat(logits).float().cpu()

    def _pieces(self, prompt: int, length: int) -> list[int]:
        """How many tokens of `length` go through the model at once so that each gives what it gave when it was decoded."""
        if self.family.clamped:
            return [prompt] + [1] * (length - prompt)
        return self._stretching.pieces(prompt, length)

    def _fed(self, tokens: Tensor, cache: Any) -> Output:
        if isinstance(cache, Apart):
            outputs = []
            for piece, part in zip(tokens.split(cache.counts), cache.parts, strict=True):
                filling = piece[:1].expand(part.rows - len(piece), -1)
                output = self._fed(torch.cat([piece, filling]), part)
                outputs.append((output.logits[: len(piece)], output.hidden[: len(piece)]))
            return Output(*map(torch.cat, zip(*outputs, strict=True)))
        pieces = [tokens] if self.family.several or cache.state is None else tokens.split(1, dim=1)
        logits, hidden = [self._run(piece, cache, 1) for piece in pieces][-1]
        return Output(logits[:, -1].float().cpu(), hidden[:, -1].float().cpu())

    def _run(self, tokens: Tensor, cache: Kept | None, last: int) -> tuple[Tensor, Tensor]:
        """Logits [B, last or more, V] and states [B, last or more, H] of one pass over tokens [B, T] behind a cache, which
        then holds them too.
        """
        ids = tokens if cache is None else torch.cat([cache.ids, tokens], dim=1)
        state = None if cache is None or self._stretching.reads_again(ids, tokens, cache.state) else cache.state
        fed = tokens if state is not None else ids
        options = self._options(ids, fed, last, None if cache is None else cache.padding)
        if self.family.keeps is not None and cache is not None:
            options |= {"use_cache": True, self.family.keeps: self._empty() if state is None else state}
        with self._running:
            self._stretching.forget()
            out = self._model(fed.to(self.device), **options)
            assert self._hidden is not None
            found = out.logits, self._hidden
        if cache is not None:
            cache.ids = ids
            if self.family.keeps is not None:
                cache.state = out.get(self.family.keeps, options[self.family.keeps])
        return found

    def _empty(self) -> Any:
        """What a model that has read nothing keeps, as `generate` begins; None where the model makes it by itself."""
        if not self._model._supports_default_dynamic_cache():
            return None
        return empty(self._model.config.get_text_config(decoder=True))

    def _options(self, ids: Tensor, fed: Tensor, last: int, padding: Tensor | None) -> dict[str, Any]:
        """What a pass over the last tokens `fed` [B, T] of `ids` [B, L] is told beside its cache."""
        options: dict[str, Any] = {"logits_to_keep": last} if self.family.slices else {}
        if self.family.chooses:
            options["use_cache"] = False
        places = torch.arange(ids.shape[1])
        if padding is not None:
            options["attention_mask"] = (places >= padding[:, None]).long().to(self.device)
        if padding is not None or (self.family.placed and fed.shape[1] < ids.shape[1]):
            start = torch.zeros(1, dtype=torch.long) if padding is None else padding
            options["position_ids"] = (places[ids.shape[1] - fed.shape[1] :] - start[:, None]).to(self.device)
        return options

    @torch.inference_mode()
    def _tried(self) -> tuple[int, int, int]:
        """The width of logits and of states, and the bytes of a position of a row, by what a few tokens take of it.

        What does not grow counts as if a row held LEAST positions. Where the cache is not plain keys and values, what the
        model gives behind it is compared with what it gives without, and what differs by more than rounding is not used.
        """
        ids, cache, sizes = torch.arange(1, 5)[None], Kept(), []
        for piece in ids.split([3, 1], dim=1):
            logits, hidden = self._run(piece, cache, 1)
            sizes.append(size_of(cache.state))
        if not torch.isfinite(logits).all():
            raise ModelError(f"The logits of {self.name} are no finite numbers; fetch or save the model again.")
        if self.family.keeps is not None and not (self.family.plain or self.family.clamped):
            whole, _ = self._run(ids, None, 1)
            if not float((whole - logits)[:, -1].abs().max()) <= ROUNDING * float(whole[:, -1].std()):
                self.family = self.family.reading_again()
        grows = sizes[-1] - sizes[-2]
        return logits.shape[-1], hidden.shape[-1], max(1, grows + max(0, sizes[-1] - 4 * grows) // LEAST)
