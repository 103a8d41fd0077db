"""A second model: a small random Llama of its own size, vocabulary and chat template, as a transformers folder.

It writes a dozen words nearly always, so that its replies repeat themselves when cold and less when hot.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from playground.training.predictors.bootstrap import PROMPTS

HIDDEN = 24
SHARPNESS = 4.0
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
WORDS = [
    "a",
    "an",
    "and",
    "about",
    "finds",
    "in",
    "of",
    "on",
    "that",
    "the",
    "to",
    "who",
    "with",
    "story",
    "town",
    "letter",
]
CONTROL = ["<end>", "<system>", "<user>", "<assistant>"]


def second_model(folder: Path, seed: int = 0) -> Path:
    """Writes the model to `folder`; its byte-level vocabulary is learned from the project's prompts."""
    texts = [
        record["prompt"]
        for name in ("facts", "stories")
        for record in json.loads((PROMPTS / f"{name}.json").read_text())
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=CONTROL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", additional_special_tokens=CONTROL[1:])
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(fast),
            hidden_size=HIDDEN,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            initializer_range=0.4,
            bos_token_id=None,
            eos_token_id=0,
        )
        model = LlamaForCausalLM(config)
        words = fast.convert_tokens_to_ids([f"Ġ{word}" for word in WORDS])
        kept = torch.zeros(len(fast), 1)
        kept[[word for word in words if word is not None]] = SHARPNESS
        with torch.no_grad():
            model.lm_head.weight.mul_(kept)
        model.save_pretrained(folder)
    return folder
