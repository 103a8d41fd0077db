"""From a model's name to a language model that runs here: the embedded default, a folder, a GGUF file or a Hub id."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
import transformers

from models.chat.ends import end_ids_of
from models.errors import ModelError
from models.families import context_length, only_float32
from models.language_model import LanguageModel
from models.llama import kernels
from models.llama.comparison import reference_of
from models.llama.model import LlamaModel, rows_keep_their_bits, threads_keep_bits
from models.llama.network import Network, rotary_of
from models.llama.same import same_as
from models.llama.supported import unsupported
from models.precision import OFFERED, measured
from models.sources.configuration import config_of, generation_of, tokenizer_of
from models.sources.fit import fitted, refuse_unscaled
from models.sources.module import module_of
from models.sources.place import files_of
from models.sources.quantised import quantised, refuse_unable
from models.sources.size import refuse_oversized
from models.sources.source import EMBEDDED, Source, source_of
from models.sources.tensors import tensors_of
from models.threads import Threads, allowed, at_most
from models.transformers_model import TransformersModel


def load_language_model(
    model: str = EMBEDDED,
    revision: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    cache: Path | None = None,
    threads: int | None = None,
) -> LanguageModel:
    """The embedded default, a local folder, a GGUF file or a Hub id (at `revision`), never running remote code.

    On a CPU a Llama-like model runs in models.llama unless `precision` is float32; everything else runs in transformers.
    `threads` sets PyTorch's; None takes fewer where a container allows fewer, or other programs are busy and no bit changes.
    Raises ModelError with one sentence that says what was tried and what would work.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    if precision not in OFFERED:
        raise ModelError(f"`precision` must be one of {', '.join(OFFERED)}, got {precision!r}.")
    place = _device(device)
    cache = cache or Path.home() / ".cache" / "adaptive-decoding-playground"
    torch.set_num_threads(threads or allowed())
    watched = Threads() if threads is None else None
    source = source_of(model, revision, cache)
    with source.in_one_sentence():
        return _loaded(source, place, precision, cache, watched)


def _loaded(source: Source, place: torch.device, precision: str, cache: Path, watched: Threads | None) -> LanguageModel:
    if place.type != "cpu" or precision == "float32":
        chosen, reason = _for_transformers(place, precision)
        return _transformers(source, place, chosen, reason)
    config = config_of(source)
    why_not = unsupported(config.get_text_config())
    chosen, reason = _for_cpu(source, config.get_text_config(), why_not, precision, cache)
    if chosen in kernels.PRECISIONS and not why_not:
        return _llama(source, config, chosen, reason, watched)
    return _transformers(source, place, chosen, reason)


def _for_cpu(source: Source, config: Any, why_not: str, asked: str, cache: Path) -> tuple[str, str]:
    """The precision on a CPU and why; `why_not` says what keeps models.llama from running the model, `cache` is where a
    measurement is kept.

    Raises ModelError for a precision that cannot be had.
    """
    if asked == "auto":
        return (
            ("float32", f"Run by transformers, since {why_not}.")
            if why_not
            else measured(config, kernels.BLOCKS if source.in_blocks else kernels.DENSE, cache)
        )
    if why_not and asked != "bfloat16":
        raise ModelError(f"{source.name} cannot run as {asked}, since {why_not}; choose auto, float32 or bfloat16.")
    if asked == "gguf" and source.gguf is None:
        raise ModelError(f"{source.name} has no GGUF file; choose another precision or name a .gguf file with --model.")
    if asked == "gguf" and source.file is not None and not source.file.in_blocks()[0]:
        raise ModelError(
            f"{source.name} keeps no linear map as Q4_0 or Q4_1, the blocks that gguf runs; choose auto, float32, float16 or "
            f"bfloat16."
        )
    if not why_not and not kernels.available(asked):
        raise ModelError(f"This build of PyTorch has no {asked} arithmetic for this processor; choose auto or float32.")
    return asked, "Chosen with --precision." + (source.file.blocks_said() if asked == "gguf" and source.file else "")


def _for_transformers(device: torch.device, asked: str) -> tuple[str, str]:
    """The precision where transformers runs the model, and why."""
    if asked == "auto":
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return ("bfloat16" if half else "float32"), f"The default of {device.type}."
    if asked in ("int8", "gguf"):
        raise ModelError(f"{asked} weights run on a CPU only; choose auto, float32, float16 or bfloat16.")
    return asked, "Chosen with --precision."


def _transformers(source: Source, device: torch.device, precision: str, reason: str) -> TransformersModel:
    """Made, and tried, by one thread, as `_llama` is."""
    with source.in_one_sentence(), at_most(1):
        model = module_of(source, getattr(torch, precision))
        if precision != "float32" and (why := only_float32(model.config)):
            raise ModelError(f"{source.name} cannot run as {precision}, since {why}; choose float32.")
        if method := quantised(model.config):
            first = torch.zeros(1, 1, dtype=torch.long, device=device)
            refuse_unable(source.name, method, lambda: model.to(device)(first).logits)
        loaded = TransformersModel(model, tokenizer_of(source), source.name, source.revision or "main", device)
    loaded.precision_reason = " ".join([reason, *loaded.family.notes])
    return loaded


def _llama(source: Source, config: Any, chosen: str, reason: str, threads: Threads | None) -> LlamaModel:
    """Made by one thread, since little of the making is shared among threads and a busy machine makes them wait."""
    with at_most(1):
        tokenizer, text = tokenizer_of(source), config.get_text_config()
        found = source.blocks.blocks() if chosen == "gguf" else _weights(source)
        refuse_oversized(source.name, config, found)
        reference = reference_of(text)
        weights = fitted(source.name, found, reference.state_dict(), text.tie_word_embeddings)
        interleaved = (chosen == "gguf" or source.file is not None) and source.blocks.architecture.interleaved
        network = Network(text, weights, chosen, rotary_of(text), interleaved)
        compared = same_as(source.name, network, reference, weights, chosen, tokenizer)
    loaded = LlamaModel(
        network,
        lambda: _transformers(source, torch.device("cpu"), "float32", "What needs the parts of a model."),
        rows_keep_their_bits(network),
        threads if threads is not None and threads_keep_bits(network, threads.most) else None,
        tokenizer=tokenizer,
        name=source.name,
        revision=source.revision or "main",
        precision=chosen,
        context_length=context_length(text),
        end_ids=end_ids_of(generation_of(source, config), tokenizer),
    )
    loaded.precision_reason = f"{reason}{network.exceptions()} {compared}"
    return loaded


def _weights(source: Source) -> dict[str, Any]:
    """The model's tensors by name: straight from its GGUF file or safetensors, else through transformers."""
    if source.file is not None:
        return source.file.blocks()
    files = files_of(source)
    if not files.paths:
        return dict(module_of(source, torch.float32).state_dict())
    tensors = tensors_of(files)
    refuse_unscaled(source.name, tensors, quantised=False)
    return tensors


def _device(name: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        usable = ", ".join(kind for kind, there in available.items() if there)
        raise ModelError(f"The device {name!r} is not available here; choose one of auto, {usable}.")
    return torch.device(name)
