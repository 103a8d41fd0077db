"""How a byte-level tokenizer cuts text into words before it merges bytes: llama.cpp's rule for each tokenizer.ggml.pre.

A rule is a list of patterns; each cuts what the patterns before it have left, and both matches and the rest are words.
The patterns were written down from llama.cpp's src/llama-vocab.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
SHORTENED = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
LLAMA3 = rf"(?:{SHORTENED})|{WORD}|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"(?:{SHORTENED})|{WORD}|\p{{N}}|{REST}"
QWEN35 = (
    rf"(?:{SHORTENED})|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CAPITALS = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+"
SMALLS = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*"
SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"{CAPITALS}|{SMALLS}|\p{{N}}|{SLASHED}"
GPT4O = rf"{CAPITALS}(?:{SHORTENED})?|{SMALLS}(?:{SHORTENED})?|\p{{N}}{{1,3}}|{SLASHED}"
HAN = r"[一-龥\u3040-ゟ゠-ヿ]+"
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Rule:
    """The patterns; whether a word that is a token is taken whole before any merge; whether BOS comes first by default."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False


DIGITS = Rule((r"\p{N}", GPT2))
RULES: Mapping[str, Rule] = {
    "default": Rule((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    "falcon": Rule((r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]")),
    "deepseek-v3": Rule((r"\p{N}{1,3}", HAN, DEEPSEEK3)),
    "qwen35": Rule((QWEN35,)),
    "tekken": Rule((TEKKEN,), whole_words=True, begins=True),
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"), Rule((LLAMA3,), True, True)
    ),
    **dict.fromkeys(("dbrx", "smaug-bpe"), Rule((LLAMA3,))),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez"), Rule((QWEN2,))),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "granite-docling"), Rule((GPT2,))),
    **dict.fromkeys(("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"), DIGITS),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2"), Rule((GPT4O,))),
}
