"""What is known of a family of models: before its weights are read, whether it can decode here, and after, how."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from models.caches import empty

LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length")
BOUND = 8192  # tokens that are read where a configuration names no length
CACHES = ("past_key_values", "cache_params", "state")  # what a model calls what it keeps of what it has read
CAUSAL_ANYHOW = ("gpt_neox", "gpt_neox_japanese")  # whatever their `is_decoder` says
READ_AGAIN = ("recurrent_gemma", "xlstm")  # what these keep, in their modules or of a fixed size, has no rows
ROW_BY_ROW = ("rwkv",)  # a step of these adds up the rows of a batch
NOTHING_KEPT = "nothing that it keeps of a text can be used by several"
WHOLE = {"xlstm": "transformers multiplies float32 with its bfloat16 in a text of 64 tokens or more"}
NOT_TEXT = {
    "blt": "reads bytes in patches",
    "cpmant": "reads a prompt in both directions",
    "fuyu": "reads text among pictures",
    "git": "describes pictures",
    "got_ocr2": "reads pictures",
    "mllama": "reads text among pictures",
    "moshi": "speaks",
    "moss_transcribe_diarize": "writes down speech",
    "musicgen": "makes music",
    "musicgen_melody": "makes music",
    "reformer": "attends by random hashing",
    "trocr": "is the decoder of an encoder–decoder",
    "xlm": "predicts masked places",
    "xlnet": "predicts masked places",
}


def refused(config: Any) -> str:
    """Why a model of this configuration cannot decode here, in the middle of a sentence; empty where it can."""
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        return f"{kind} is an encoder–decoder"
    if kind in NOT_TEXT or kind.endswith("_assistant"):
        return f"{kind} {NOT_TEXT.get(kind, 'drafts for another model')}"
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return f"transformers has no causal language model of the type {kind}"
    if not getattr(config, "is_decoder", True) and kind not in CAUSAL_ANYHOW:
        return f"{kind} is a masked language model, which sees what comes after a token"
    text = config.get_text_config()
    both = getattr(text, "use_bidirectional_attention", False) in (True, "all")
    if both or getattr(text, "is_causal", True) is False:
        return "its configuration lets it see what comes after a token"
    return ""


def only_float32(config: Any) -> str:
    """Why a model of this configuration runs in float32 alone, in the middle of a sentence; empty where it need not."""
    return WHOLE.get(config.model_type, "")


def context_length(config: Any) -> int:
    """How many tokens a model of this configuration reads and writes; BOUND where it names no length."""
    return int((_named(config) or BOUND) * _stretched(config))


def _named(config: Any) -> int:
    """The length that the configuration names, 0 where it names none."""
    named = (getattr(config, name, None) for name in (*LENGTHS, "context_length"))
    return next((int(value) for value in named if isinstance(value, int | float) and value > 0), 0)


def _stretched(config: Any) -> float:
    """How many times its own length a model reads by rotary angles that change as it reads; 1 where they do not."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in (rope, *rope.values()) if isinstance(part, dict)]
    return max([1.0, *(float(part.get("factor") or 1) for part in parts if part.get("rope_type") == "dynamic")])


@dataclass(frozen=True)
class Family:
    """How transformers runs a model.

    keeps    what it calls what it keeps of what it has read; None where it reads everything again at every step
    placed   whether it is told where tokens stand
    slices   whether it can leave out the logits of places that nobody asks for
    chooses  whether it can be told to keep nothing
    plain    whether it keeps keys and values of every position and nothing else, so that rows can be padded on the left
    several  whether it reads several tokens at once behind what it keeps
    clamped  whether a pass over several tokens bounds the time steps of its recurrence, which a step of one does not
    alone    why each row must be fed by itself; empty where rows may stand together
    context_length, bounded   how many tokens it reads; whether its configuration names no such number
    """

    keeps: str | None
    placed: bool
    slices: bool
    chooses: bool
    plain: bool
    several: bool
    clamped: bool
    alone: str
    context_length: int
    bounded: bool
    depth: int

    @classmethod
    def of(cls, model: Any) -> Family:
        config, takes = model.config.get_text_config(decoder=True), inspect.signature(model.forward).parameters
        keeps = None if _forgets(config) else next((name for name in CACHES if name in takes), None)
        layers = {type(layer) for layer in empty(config).layers} if keeps == CACHES[0] else set()
        return cls(
            keeps=keeps,
            placed="position_ids" in takes,
            slices="logits_to_keep" in takes,
            chooses="use_cache" in takes,
            plain=layers == {DynamicLayer} and "position_ids" in takes,
            several=keeps is None or (bool(layers) and layers <= {DynamicLayer, DynamicSlidingWindowLayer}),
            clamped=any(map(_clamps, model.modules())),
            alone=_alone(model, config, keeps),
            context_length=context_length(config),
            bounded=not _named(config),
            depth=int(config.num_hidden_layers),
        )

    def reading_again(self) -> Family:
        """The same without a cache."""
        return replace(self, keeps=None, several=True, alone=NOTHING_KEPT)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a visitor should know of it, in sentences."""
        apart = f"Its lanes run one after the other, since {self.alone}." if self.alone else ""
        again = "It reads everything again at every token." if self.keeps is None else ""
        length = f"Its configuration names no length, so it reads at most {self.context_length:,} tokens."
        return tuple(filter(None, (apart, again, length if self.bounded else "")))


def _alone(model: Any, config: Any, keeps: str | None) -> str:
    if keeps is None:
        return NOTHING_KEPT
    if config.model_type in ROW_BY_ROW:
        return "a step of it adds up the rows that are fed together"
    if any(type(module).__name__.endswith("Experts") for module in model.modules()):
        return "an expert rounds what it makes of a row by how many rows it is sent"
    return ""


def _forgets(config: Any) -> bool:
    """Whether what transformers keeps for this family cannot be used: see READ_AGAIN; MiniMax's loses count of a window."""
    return config.model_type in READ_AGAIN or (config.model_type == "minimax" and bool(config.sliding_window))


def _clamps(module: Any) -> bool:
    limits = getattr(module, "time_step_limit", None)
    return limits is not None and (limits[0] > 0 or limits[1] < float("inf"))
