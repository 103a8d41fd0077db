"""A frozen causal language model with its tokenizer: encode a chat, prefill once, step every lane, decode.

Shapes: B rows, T time, V vocabulary, H hidden. Logits are the model's own (soft-capped or scaled where it does that);
the hidden state is what feeds the unembedding, taken at its input. Both come back as float32 on the CPU, where every
policy computes.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer

from models import chat, embedded
from models.errors import ModelError

EMBEDDED = "embedded"
STEP_ROWS = 8  # rows of every decode step of up to STEP_ROWS // 2 lanes: see rows_for


@dataclass(frozen=True)
class Output:
    """What the policies read of one position: logits [B, V] and the state that feeds the unembedding [B, H]."""

    logits: Tensor
    hidden: Tensor


@dataclass
class Joined:
    """A cache whose rows are prompts of different lengths, the shorter ones padded on the left by `padding` [B] places."""

    cache: Any
    padding: Tensor


class LanguageModel:
    """See the module docstring. `name`, `revision` and `precision` are stamped on every trace."""

    merges = False

    def __init__(self, model: Any, tokenizer: Any, name: str, revision: str, device: torch.device) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name, self.revision, self.device = name, revision, device
        self.precision = str(model.dtype).removeprefix("torch.")
        config = model.config.get_text_config()
        self.vocab_size: int = model.get_output_embeddings().weight.shape[0]
        self.hidden_size: int = model.get_output_embeddings().weight.shape[1]
        self.parameters: int = sum(parameter.numel() for parameter in model.parameters())
        self.context_length: int = config.max_position_embeddings
        self.joins: bool = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
        self.end_ids = _end_ids(model, tokenizer)
        self.token_text = functools.lru_cache(maxsize=65536)(lambda token: self.decode([token]))
        self._hidden: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)

    def _keep_hidden(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        self._hidden = inputs[0]

    @staticmethod
    def rows_for(lanes: int) -> int:
        """How many rows a decode step of `lanes` lanes runs with.

        A matrix product rounds a row differently by how many rows stand beside it, and, where threads share the rows,
        by the half of the batch it stands in. Up to four lanes therefore always stand in the first half of eight rows:
        a lane's logits are then the same bits alone and in company. Eight rows cost what four do. More lanes than
        that are equal to float32 rounding only.
        """
        return STEP_ROWS if lanes <= STEP_ROWS // 2 else lanes

    def encode_chat(self, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
        """Token ids of the request; see models.chat. Raises ModelError when it leaves no room for a reply."""
        limit = self.context_length - 1
        length = len(prompt) + len(system or "") + len(prefill)
        ids = chat.encode_chat(self.tokenizer, prompt, system, prefill) if length <= 32 * self.context_length else None
        if ids is None or len(ids) > limit:
            size = f"{len(ids)} tokens" if ids is not None else f"{length} characters"
            raise ModelError(
                f"The prompt has {size}, but {self.name} reads at most {limit} tokens; shorten the prompt or its source document."
            )
        return ids

    def encode_text(self, text: str) -> list[int]:
        """`text` as ordinary tokens, with no template around it."""
        return chat.encode_text(self.tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, control tokens left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def begin(self, ids: Sequence[int]) -> tuple[Any, list[Tensor]]:
        """A prompt about to be read: an empty cache of one row, and the pieces [1, T] to feed to it."""
        return DynamicCache(config=self.model.config), [torch.tensor([list(ids)])]

    @torch.inference_mode()
    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[Output]:
        """Feed tokens [B, T] to every cache, one after the other; the output at the last token of each."""
        return [self._forward(tokens, cache) for tokens, cache in asks]

    def prefill(self, ids: Sequence[int]) -> tuple[Output, Any]:
        """Read the prompt at once: the output at its last token (B = 1) and the cache."""
        cache, pieces = self.begin(ids)
        output = [self.forward([(piece, cache)])[0] for piece in pieces][-1]
        return output, cache

    def step(self, tokens: Tensor, cache: Any) -> Output:
        """Feed one token [B] to every row; the cache grows by one position."""
        return self.forward([(tokens[:, None], cache)])[0]

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
        joined = DynamicCache(config=self.model.config)
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
        logits: Tensor = self.model(ids, use_cache=False, logits_to_keep=len(reply_ids)).logits[0]
        return logits.float().cpu()

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
        out = self.model(
            ids.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=logits_to_keep,
            **places,
        )
        assert self._hidden is not None
        return Output(out.logits[:, -1].float().cpu(), self._hidden[:, -1].float().cpu())


def _padded(values: Tensor, length: int, rows: int) -> Tensor:
    """[1, heads, T, D] → [rows, heads, length, D], zeros on the left."""
    return torch.nn.functional.pad(values, (0, 0, length - values.shape[-2], 0)).expand(rows, -1, -1, -1)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


def load_language_model(
    model: str = EMBEDDED,
    revision: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    cache: Path | None = None,
) -> LanguageModel:
    """The embedded default, a local folder, a GGUF file or a Hub id (at `revision`), as float32, never running remote code.

    Raises ModelError with one sentence that says what was tried and what would work.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if precision not in ("auto", "float32"):
        raise ModelError(f"`precision` must be auto or float32, got {precision!r}.")
    place = _device(device)
    if model == EMBEDDED:
        where = embedded.folder(cache or Path.home() / ".cache" / "adaptive-decoding-playground")
        return _load(str(where), embedded.NAME, embedded.REVISION, place)
    path = Path(model).expanduser()
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"There is no file {model}; name an existing .gguf file, a model folder or a Hub id.")
        return _load(str(path.parent), path.stem, _fingerprint(path), place, options={"gguf_file": path.name})
    if path.is_dir():
        return _load(str(path), path.resolve().name, _folder_revision(path), place)
    if path.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(
            f"There is no model folder {model}; name a folder with config.json, a .gguf file or a Hub id such as org/name."
        )
    return _load(model, model, revision, place, options={"revision": revision} if revision else {})


def _load(
    where: str, name: str, revision: str | None, device: torch.device, options: Mapping[str, str] | None = None
) -> LanguageModel:
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, **(options or {}))
        model = AutoModelForCausalLM.from_pretrained(
            where, trust_remote_code=False, dtype=torch.float32, **(options or {})
        )
    except Exception as error:  # a loader of foreign files: whatever it raises becomes one sentence
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"The model {name!r} could not be loaded (tried {where} with transformers: {reason}); use the embedded model, "
            f"a folder with config.json and safetensors, a .gguf file or a reachable Hub id."
        ) from error
    return LanguageModel(
        model, tokenizer, name, revision or str(getattr(model.config, "_commit_hash", None) or "main"), device
    )


def _device(name: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        usable = ", ".join(kind for kind, there in available.items() if there)
        raise ModelError(f"The device {name!r} is not available here; choose one of auto, {usable}.")
    return torch.device(name)


def _folder_revision(path: Path) -> str:
    return _fingerprint(*(sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))))


def _fingerprint(*files: Path) -> str:
    """The identity of weight files: sha256 over each one's size, first and last mebibyte (whole files may be huge)."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(str(size).encode() + file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return f"sha256-{digest.hexdigest()[:16]}"
