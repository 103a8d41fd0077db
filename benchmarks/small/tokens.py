"""A byte-level tokenizer of 320 tokens, with control tokens and a chat template, for small random models."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SIZE = 320
END_OF_TEXT, TURN_END, TURN_START = "<|endoftext|>", "<|im_end|>", "<|im_start|>"
CONTROL = (END_OF_TEXT, TURN_END, TURN_START)  # ids 0, 1 and 2
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LEARNED_FROM = (
    "The river ran past the old town and nobody knew its name.",
    "Name a planet, then tell me a story about a clever dog that was in the house.",
    "What is the time? It is in the morning, and the letter is on the table.",
)


def tokenizer(template: str | None = TEMPLATE) -> Any:
    """The tokenizer; without a template it is that of a base model, which completes text."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokens.train_from_iterator(LEARNED_FROM, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token=END_OF_TEXT,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START],
    )
    fast.chat_template = template
    return fast
