"""Two small tokenizers, learned from the project's prompts: byte-level pieces, and SentencePiece-like ones."""

from __future__ import annotations

import json
from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from playground.training.predictors.bootstrap import PROMPTS

CONTROL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIAL: Final = ("<unk>", "<s>", "</s>")
PIECES: Final = 420
CHATML: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAGS: Final = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>\n{{ m.content }}{{ eos_token }}\n{% endfor %}<assistant>\n"
)


def texts() -> list[str]:
    records = json.loads((PROMPTS / "stories.json").read_text(encoding="utf-8"))
    return [record["prompt"] for record in records]


def byte_level() -> Any:
    """A tokenizer of bytes and their merges, with ChatML."""
    learning = Tokenizer(models.BPE())
    learning.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learning.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learning.train_from_iterator(texts(), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=learning, eos_token="<|im_end|>", bos_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


def pieces() -> Any:
    """A tokenizer whose pieces hold their blanks and whose last 256 ids are the bytes, with a template of tags."""
    learning = Tokenizer(models.BPE(unk_token="<unk>"))
    learning.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=PIECES - 256, special_tokens=list(SPECIAL), show_progress=False)
    learning.train_from_iterator(texts(), trainer)
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
    fast = PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.chat_template = TAGS
    return fast
