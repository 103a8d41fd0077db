"""A tokenizer as SentencePiece models have it: blanks are part of the pieces, unknown characters fall back to bytes, the
first blank of what is decoded is dropped."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.language_model import LanguageModel
from playground.training.predictors.bootstrap import PROMPTS

SPECIAL = ("<unk>", "<s>", "</s>")


def tokenizer() -> Any:
    """Learned from the project's prompts; ids 0 to 2 are SPECIAL, the last 256 are the bytes."""
    texts = [record["prompt"] for record in json.loads((PROMPTS / "stories.json").read_text(encoding="utf-8"))]
    learning = Tokenizer(models.BPE(unk_token="<unk>"))
    learning.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=list(SPECIAL), show_progress=False)
    learning.train_from_iterator(texts, trainer)
    learned = json.loads(learning.to_str())["model"]
    vocabulary = {**learned["vocab"]}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    merges = [tuple(merge) for merge in learned["merges"]]
    whole = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    whole.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    whole.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def speller() -> LanguageModel:
    """What a language model with this tokenizer makes of tokens; it has no weights."""
    tokens = tokenizer()
    model = LanguageModel(tokens, "sentencepiece-like", "0", "float32", 512, frozenset({2}))
    model.vocab_size = len(tokens)
    return model
