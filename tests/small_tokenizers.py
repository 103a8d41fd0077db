"""Small tokenizers of the kinds that models have, learned from the project's prompts in a moment: byte-level ones, and
SentencePiece-like ones with every way of putting a blank before the first word."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.pre_tokenizers import PreTokenizer
from transformers import PreTrainedTokenizerFast

from playground.training.predictors.bootstrap import PROMPTS

BYTE_LEVEL = ("byte-level", "byte-level-nfkc")
SENTENCEPIECE = ("metaspace-first", "metaspace-always", "metaspace-never", "legacy", "unigram")
KINDS = (*BYTE_LEVEL, *SENTENCEPIECE)


def tokenizer(
    kind: str,
    special: Sequence[str] = (),
    marks: Sequence[str] = (),
    bos: str = "<s>",
    eos: str = "</s>",
    plain: tuple[Sequence[str], Sequence[str]] = ((), ()),
    **flags: bool,
) -> Any:
    """One of KINDS with control tokens `special`, and `marks` that are not special, `flags` being those of an AddedToken.
    `plain` are the tokens that it puts before and after a plain text."""
    backend = Tokenizer.from_str(_backend(kind))
    backend.add_special_tokens([AddedToken(t, **flags) for t in dict.fromkeys(("<unk>", bos, eos, *special))])
    backend.add_tokens([AddedToken(t, special=False, normalized=False) for t in marks])
    before, after = plain
    if before or after:
        backend.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            special_tokens=[(t, backend.token_to_id(t)) for t in dict.fromkeys((*before, *after))],
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token=bos, eos_token=eos)


@functools.cache
def _backend(kind: str) -> str:
    if kind in BYTE_LEVEL:
        return _byte_level(kind)
    return _unigram() if kind == "unigram" else _sentencepiece(kind)


def _texts() -> list[str]:
    texts = [record["prompt"] for record in json.loads((PROMPTS / "stories.json").read_text(encoding="utf-8"))]
    return [*texts, *(f"<|{word}|>\n{word}s [{word.upper()}] </{word}>  {word}" for word in ("user", "end", "im_end"))]


def _byte_level(kind: str) -> str:
    learning = Tokenizer(models.BPE())
    learning.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learning.decoder = decoders.ByteLevel()
    if kind == "byte-level-nfkc":
        learning.normalizer = normalizers.NFKC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learning.train_from_iterator(
        _texts(), trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    return str(learning.to_str())


def _splitter(kind: str) -> PreTokenizer:
    """As SentencePiece looks at blanks: a text is one piece, so that merges may cross words."""
    return pre_tokenizers.Metaspace(prepend_scheme=kind.removeprefix("metaspace-"), split=False)


def _sentencepiece(kind: str) -> str:
    learning = Tokenizer(models.BPE(unk_token="<unk>"))
    learning.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    learning.train_from_iterator(_texts(), trainer)
    learned = json.loads(learning.to_str())["model"]
    vocabulary = dict(learned["vocab"])
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    merges = [tuple(merge) for merge in learned["merges"]]
    whole = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if kind == "legacy":
        whole.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        whole.pre_tokenizer = _splitter(kind)
    strip = [] if kind == "metaspace-never" else [decoders.Strip(" ", 1, 0)]
    whole.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return str(whole.to_str())


def _unigram() -> str:
    """Its pieces include the spellings of control tokens, which the model may choose for plain text."""
    learning = Tokenizer(models.Unigram())
    learning.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=special, unk_token="<unk>", show_progress=False, initial_alphabet=list("<|>[]/_")
    )
    learning.train_from_iterator(_texts(), trainer)
    pieces = [tuple(piece) for piece in json.loads(learning.to_str())["model"]["vocab"]]
    known = {piece for piece, _ in pieces}
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces += [(c, -12.0) for c in map(chr, range(33, 127)) if c not in known]
    whole = Tokenizer(models.Unigram(pieces, 0, True))
    whole.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return str(whole.to_str())
