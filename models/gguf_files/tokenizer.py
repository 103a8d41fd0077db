"""The tokenizer of a GGUF file: the ids are llama.cpp's, for the two kinds that decoder-only models use.

gpt2     bytes as characters, cut into words by models.gguf_files.pretokenizers, merged by rank
llama    SentencePiece's pairs: the neighbours whose joint token has the highest score are merged first
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from models.errors import ModelError
from models.gguf_files.endings import FILES, NAMED, SPELLED, end_ids_of
from models.gguf_files.metadata import Metadata, shown
from models.gguf_files.pretokenizers import RULES, Rule

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # ggml's kinds of tokens
SPACE = "▁"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad", "seperator": "sep", "mask": "mask"}
TEMPLATE = "tokenizer.chat_template"
USUAL = {"bos": 1, "eos": 2, "unknown": 0}
MODELS = {"gpt2": True, "llama": False}  # byte-level or not


@dataclass(frozen=True)
class Vocabulary:
    """What a file says of its tokens; the text of token i is tokens[i]."""

    tokens: list[str]
    kinds: list[int]
    scores: list[float]
    merges: list[tuple[str, str]]

    def of(self, *kinds: int) -> list[int]:
        return [number for number, kind in enumerate(self.kinds) if kind in kinds]


def tokenizer_of(metadata: Metadata) -> Any:
    """transformers' fast tokenizer with the chat template of the file. Raises ModelError for what is not read exactly."""
    from transformers import PreTrainedTokenizerFast

    kind = metadata.get("tokenizer.ggml.model")
    if kind not in MODELS:
        raise ModelError(
            f"{metadata.name} has a tokenizer of the kind {shown(kind)}; GGUF files with the kinds {', '.join(MODELS)} are read."
        )
    vocabulary = vocabulary_of(metadata)
    rule = _rule(metadata) if MODELS[kind] else Rule((), begins=True)
    try:
        built = _byte_level(metadata, vocabulary, rule) if MODELS[kind] else _sentence_piece(metadata, vocabulary)
    except ModelError:
        raise
    except Exception as error:  # the library names its own kinds
        raise ModelError(
            f"The tokenizer of {metadata.name} has tokens and merges that do not fit together; convert it again."
        ) from error
    _add_tokens(built, metadata, vocabulary)
    names = _special(metadata, vocabulary, MODELS[kind])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=built,
        clean_up_tokenization_spaces=False,
        add_bos_token=_flag(metadata, "add_bos_token", rule.begins) and "bos_token" in names,
        add_eos_token=_flag(metadata, "add_eos_token", False) and "eos_token" in names,
        chat_template=_templates(metadata),
        **names,
    )
    tokenizer.begins_chats = tokenizer.add_bos_token  # as llama.cpp does, whatever the template writes
    return tokenizer


def vocabulary_of(metadata: Metadata) -> Vocabulary:
    """The tokens, with a name for each that has none. Raises ModelError where the lists do not fit together."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise ModelError(f"{metadata.name} holds no tokenizer; convert it again.")
    tokens = [token or f"[EMPTY_{number}]" for number, token in enumerate(tokens)]
    kinds = _list(metadata, "token_type", [NORMAL] * len(tokens))
    scores = _list(metadata, "scores", [0.0] * len(tokens))
    if len(set(tokens)) != len(tokens):
        raise ModelError(f"The tokenizer of {metadata.name} has one token twice; convert it again.")
    if not len(tokens) == len(kinds) == len(scores) or any(math.isnan(score) for score in scores):
        raise ModelError(f"The tokenizer of {metadata.name} has lists that do not fit together; convert it again.")
    embedding = metadata.tensors.get("token_embd.weight")
    if embedding is not None and embedding.shape[0] != len(tokens):
        raise ModelError(
            f"{metadata.name} has {len(tokens)} tokens and an embedding of {embedding.shape[0]}; convert it again."
        )
    kinds = [CONTROL if token in SPELLED else kind for token, kind in zip(tokens, kinds, strict=True)]
    merges = metadata.get("tokenizer.ggml.merges") or []
    return Vocabulary(tokens, kinds, scores, [_pair(merge) for merge in dict.fromkeys(merges)])


def _list(metadata: Metadata, key: str, default: list[Any]) -> list[Any]:
    """A list of the tokenizer, also where it is there and empty."""
    value = metadata.get(f"tokenizer.ggml.{key}")
    return default if value is None else list(value)


def end_ids(metadata: Metadata) -> frozenset[int]:
    """The tokens that end a reply."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    entries = {key: metadata.get(f"tokenizer.ggml.{key}") for key in (*NAMED, *FILES)}
    if metadata.get("tokenizer.ggml.model") == "llama" and entries["eos_token_id"] is None:
        entries["eos_token_id"] = USUAL["eos"]
    return end_ids_of(entries, tokens if isinstance(tokens, list) else [])


def _pair(merge: str) -> tuple[str, str]:
    place = merge.find(" ", 1)
    return merge[:place], merge[place + 1 :]


def _rule(metadata: Metadata) -> Rule:
    named = metadata.get("tokenizer.ggml.pre") or "default"
    if named not in RULES:
        raise ModelError(
            f"{metadata.name} cuts text into words by the rule {shown(named)}, which is not read here; use the model's safetensors "
            f"folder."
        )
    return RULES[named]


def _byte_level(metadata: Metadata, vocabulary: Vocabulary, rule: Rule) -> Tokenizer:
    if not vocabulary.merges:
        raise ModelError(f"The tokenizer of {metadata.name} has no merges; convert it again.")
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    built = Tokenizer(BPE(vocab=ids, merges=vocabulary.merges, ignore_merges=rule.whole_words))
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns]
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    built.decoder = decoders.ByteLevel()
    return built


def _sentence_piece(metadata: Metadata, vocabulary: Vocabulary) -> Tokenizer:
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    if missing := next((byte for byte in BYTES if byte not in ids), None):
        raise ModelError(f"The tokenizer of {metadata.name} has no token {missing} for a byte; convert it again.")
    built = Tokenizer(
        BPE(
            vocab=ids,
            merges=_merges(metadata, vocabulary, ids),
            unk_token=vocabulary.tokens[unknown] if type(unknown) is int and unknown < len(ids) else None,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = _flag(metadata, "add_space_prefix", True)
    start = [normalizers.Prepend(SPACE)] if prefix else []
    built.normalizer = normalizers.Sequence([*start, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    built.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return built


def _merges(metadata: Metadata, vocabulary: Vocabulary, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to make a token of two others, the highest score first. Raises ModelError where two tokens have one score:
    llama.cpp then takes what stands first in the text, which an order of pairs cannot say."""
    found, scores = [], set()
    for token, score, kind in zip(vocabulary.tokens, vocabulary.scores, vocabulary.kinds, strict=True):
        cuts = [(token[:place], token[place:]) for place in range(1, len(token))]
        pairs = [(left, right) for left, right in cuts if left in ids and right in ids]
        if pairs and kind == NORMAL and score in scores:
            raise ModelError(
                f"The tokenizer of {metadata.name} gives two tokens one score, which is not read exactly here."
            )
        if pairs and kind == NORMAL:
            scores.add(score)
        found += [(-score, ids[left], ids[right], left, right) for left, right in pairs]
    return [(left, right) for *_, left, right in sorted(found)]


def _add_tokens(built: Tokenizer, metadata: Metadata, vocabulary: Vocabulary) -> None:
    """Tokens that are never cut: control tokens, and those that a model's makers added."""
    name = metadata.get("general.name")
    stripped = isinstance(name, str) and any(phi in name.lower() for phi in ("phi-3", "phi3"))
    kept = ("<unk>", "<s>", "<|endoftext|>")
    added: Sequence[AddedToken] = [
        AddedToken(
            text := vocabulary.tokens[number],
            normalized=False,
            special=vocabulary.kinds[number] != USER_DEFINED,
            rstrip=stripped and text not in kept,
        )
        for number in vocabulary.of(CONTROL, USER_DEFINED, UNKNOWN)
    ]
    built.add_tokens(list(added))


def _special(metadata: Metadata, vocabulary: Vocabulary, byte_level: bool) -> dict[str, str]:
    """The tokens with a part to play, by transformers' names for their parts. SentencePiece has usual places for three."""
    usual = {} if byte_level else USUAL
    names = {}
    for part, theirs in SPECIAL.items():
        number = metadata.get(f"tokenizer.ggml.{part}_token_id")
        if type(number) is not int or not 0 <= number < len(vocabulary.tokens):
            number = usual.get(part)
        if number is not None and number < len(vocabulary.tokens):
            names[f"{theirs}_token"] = vocabulary.tokens[number]
    return names


def _flag(metadata: Metadata, key: str, default: bool) -> bool:
    value = metadata.get(f"tokenizer.ggml.{key}")
    return value if isinstance(value, bool) else default


def _templates(metadata: Metadata) -> str | dict[str, str] | None:
    """The chat template, or the templates by their names where there are several."""
    plain = metadata.get(TEMPLATE)
    names = metadata.get("tokenizer.chat_templates")
    if not isinstance(names, list) or not names:
        return plain if isinstance(plain, str) else None
    named = {name: metadata.get(f"{TEMPLATE}.{name}") for name in names}
    whole = {"default": plain} | named
    return {name: text for name, text in whole.items() if isinstance(text, str)} or None
