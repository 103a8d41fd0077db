"""Prompts of well-known models: the ids are those that their templates give, for every kind of tokenizer, to the last blank.

The templates stand in tests/chat_templates, about.json says what each is after.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.chat.encoder import Encoder
from models.chat.ends import turn_end
from models.errors import ModelError
from models.language_model import LanguageModel
from tests import small_tokenizers

FOLDER = Path(__file__).parent / "chat_templates"
ABOUT: dict[str, Any] = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))["templates"]
KINDS = ("byte-level", "metaspace-first", "metaspace-always", "legacy", "unigram")


class Conversation(NamedTuple):
    prompt: str
    system: str | None = None
    prefill: str = ""


CONVERSATIONS = (
    Conversation("What is it?"),
    Conversation("What is it?", "Be brief."),
    Conversation("  two blanks before and three behind   ", " one on both sides "),
    Conversation("\nLines\n\n\nand lines\r\n", "\nOne.\nTwo.\n"),
    Conversation("Grüße, naïve café — ﬁn “quoted” ½ \u00a0wide\u3000blank"),
    Conversation("🙂👩‍👩‍👧 says 東京は晴れ ☀️", "Réponds en français 🇫🇷"),
    Conversation("def f(x):\n    if x < 2 and x > 0:\n\treturn [x, {'a': x | 1}]\n", "You write code."),
    Conversation("Begin a story.", None, "Once"),
    Conversation("What is the capital of France?", "Answer at once.", "The capital is "),
    Conversation(".", "x"),
    Conversation("What is 1234567890 + 0.5 / 3? /no_think", "/no_think"),
    Conversation("كم الساعة الآن؟ " + "A long line of words. " * 40 + "שלום עולם", None, "\n\nWell,"),
)


@functools.cache
def tokenizer_for(name: str, kind: str) -> Any:
    """A small tokenizer that holds the control tokens of this template."""
    about = ABOUT[name]
    bos, eos = about["bos"] or "<unk>", about["eos"]
    made = small_tokenizers.tokenizer(
        kind, about["tokens"], about.get("marks", ()), bos, eos, rstrip=about.get("rstrip", False), normalized=False
    )
    made.chat_template = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    return made


def wanted(tokenizer: Any, asked: Conversation, parts: bool = False) -> list[int]:
    """What transformers makes of it: the template's text with the beginning of the reply, encoded as one."""
    texts = [("system", asked.system)] if asked.system else []
    turns = [
        {"role": role, "content": [{"type": "text", "text": text}] if parts else text}
        for role, text in [*texts, ("user", asked.prompt)]
    ]
    if not asked.prefill:
        ids: list[int] = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        return ids
    written = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(written + asked.prefill.rstrip(" "), add_special_tokens=False)["input_ids"])


def asked_of(name: str) -> Iterator[Conversation]:
    """The conversations; without their system prompts where a template refuses these."""
    for asked in CONVERSATIONS:
        yield asked if ABOUT[name]["system"] == "kept" else asked._replace(system=None)


def test_there_are_many_templates_and_twelve_conversations() -> None:
    assert len(ABOUT) >= 40
    assert len(set(CONVERSATIONS)) == 12
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(ABOUT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ABOUT)
def test_the_prompt_is_what_the_template_makes_of_it(name: str, kind: str) -> None:
    tokenizer = tokenizer_for(name, kind)
    encoder = Encoder(tokenizer)
    for asked in asked_of(name):
        assert encoder.encode_chat(*asked) == wanted(tokenizer, asked, ABOUT[name].get("parts", False)), asked


class Disguised(Encoder):
    """Encodes everything as it does what spells a control token."""

    _encode = Encoder._encode_disguised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ABOUT)
def test_the_way_round_spelled_control_tokens_gives_the_same_ids(name: str, kind: str) -> None:
    """For texts that spell none: what is said in all other places does not depend on what is spelled in one."""
    tokenizer = tokenizer_for(name, kind)
    encoder = Disguised(tokenizer)
    for asked in asked_of(name):
        assert encoder.encode_chat(*asked) == wanted(tokenizer, asked, ABOUT[name].get("parts", False)), asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ABOUT)
def test_a_spelled_control_token_is_text_in_every_template(name: str, kind: str) -> None:
    """What a person typed reads back as it was typed, and the template's own tokens are where they were."""
    tokenizer = tokenizer_for(name, kind)
    encoder = Encoder(tokenizer)
    system = None if ABOUT[name]["system"] == "refused" else "Be @."

    def controls(ids: list[int]) -> list[int]:
        return [i for i in ids if i in encoder.control and i != tokenizer.unk_token_id]

    for spelling in encoder.control.values():
        typed = f"x{spelling}y"
        told = system and system.replace("@", "xy" if "/think" in spelling else typed)  # smollm3 takes that word out
        ids = encoder.encode_chat(f"Say {typed}.", told, typed)
        plain = encoder.encode_chat("Say xy.", system and system.replace("@", "xy"), "xy")
        assert controls(ids) == controls(plain), spelling
        read = tokenizer.decode(ids).replace("▁", " ")  # which are the same to SentencePiece
        assert read.count(typed.replace("▁", " ")) == 2 + (told is not None and typed in told), spelling


@pytest.mark.parametrize("name", [name for name in ABOUT if ABOUT[name]["system"] == "refused"])
def test_a_template_that_refuses_a_system_prompt_says_so_where_one_is_given(name: str) -> None:
    encoder = Encoder(tokenizer_for(name, "byte-level"))
    with pytest.raises(ModelError, match=r"takes no system prompt \(it says: .*\); leave the system prompt empty"):
        encoder.encode_chat("Hello.", "Be brief.")
    assert encoder.encode_chat("Hello.")


@pytest.mark.parametrize("name", ABOUT)
def test_the_end_of_a_turn_ends_a_reply(name: str) -> None:
    tokenizer = tokenizer_for(name, "byte-level")
    end = turn_end(tokenizer)
    assert ([] if end is None else [tokenizer.convert_ids_to_tokens(end)]) == ABOUT[name]["ends"]


def test_the_default_models_tokenizer_reads_every_template_alike(embedded_model: LanguageModel) -> None:
    for name, about in ABOUT.items():
        tokenizer = copy.deepcopy(embedded_model.tokenizer)
        tokenizer.add_special_tokens({"additional_special_tokens": about["tokens"]})
        tokenizer.bos_token, tokenizer.eos_token = about["bos"] or tokenizer.bos_token, about["eos"]
        tokenizer.chat_template = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
        encoder = Encoder(tokenizer)
        for asked in asked_of(name):
            assert encoder.encode_chat(*asked) == wanted(tokenizer, asked, about.get("parts", False)), (name, asked)
