"""A language model's tokenizer as SentencePiece models have it: blanks are part of the pieces, unknown characters fall back to
bytes, the first blank of what is decoded is dropped."""

from __future__ import annotations

from models.language_model import LanguageModel
from tests.small_tokenizers import tokenizer


def speller() -> LanguageModel:
    """What a language model with this tokenizer makes of tokens; it has no weights. Ids 0 to 2 are control tokens, the
    last 256 are the bytes."""
    tokens = tokenizer("metaspace-first")
    model = LanguageModel(tokens, "sentencepiece-like", "0", "float32", 512, frozenset({2}))
    model.vocab_size = len(tokens)
    return model
