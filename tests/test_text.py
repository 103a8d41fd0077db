"""Pieces of text: they join to the whole, and none ends inside a character."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence

import pytest

from models.language_model import LanguageModel
from playground.decoding.text import REPLACEMENT, TextPieces
from tests.tiny_lm import TinyLM

TEXTS = (
    "plain words, then a stop.",
    "naïve café – “quotes” …",
    "東京へ行きました。",
    "مرحبا بالعالم",
    "🙂🙃 and 👩‍👩‍👧‍👦 and 🏳️‍🌈!",
    "e\u0301\u0323 combining, z\u200dj, \u00a0 and tabs\t\n\n  end ",
    "",
)


def pieces_of(decode: Callable[[Sequence[int]], str], ids: Sequence[int], context: Sequence[int] = ()) -> list[str]:
    """The piece of every token, and last what was still held back."""
    pieces = TextPieces(decode, context)
    return [*(pieces.push(i) for i in ids), pieces.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_join_to_the_text_character_by_character(tiny: TinyLM, text: str) -> None:
    *pieces, held = pieces_of(tiny.decode, list(text.encode()))
    assert "".join(pieces) == text
    assert held == ""
    assert all(len(piece) <= 1 for piece in pieces)


def test_any_bytes_join_to_the_decoded_whole(tiny: TinyLM) -> None:
    draw = random.Random(0)
    for _ in range(300):
        good = list(draw.choice(TEXTS).encode())
        ids = [draw.choice([draw.randrange(256), *good, 0xF0, 0x9F, 0xE2]) for _ in range(draw.randrange(30))] + good
        if draw.random() < 0.5:
            ids = ids[: -draw.randrange(1, 4)]
        *pieces, held = pieces_of(tiny.decode, ids)
        assert "".join(pieces) + held == tiny.decode(ids)
        assert not any(piece.endswith(REPLACEMENT) for piece in pieces)


def test_a_reply_cut_inside_a_character_shows_it_only_at_the_end(tiny: TinyLM) -> None:
    *pieces, held = pieces_of(tiny.decode, list("a🙂".encode())[:-1])
    assert pieces == ["a", "", "", ""]
    assert held == REPLACEMENT


@pytest.mark.parametrize("text", TEXTS)
def test_the_embedded_tokenizers_pieces_join_to_the_decoded_whole(embedded_model: LanguageModel, text: str) -> None:
    ids = embedded_model.encode_text(text)
    *pieces, held = pieces_of(embedded_model.decode, ids)
    assert "".join(pieces) + held == embedded_model.decode(ids) == text
    assert not any(piece.endswith(REPLACEMENT) for piece in pieces)


def test_random_tokens_of_the_embedded_model_join_to_the_decoded_whole(embedded_model: LanguageModel) -> None:
    draw = random.Random(1)
    rare = embedded_model.encode_text("".join(TEXTS))
    for _ in range(60):
        ids = [draw.choice([draw.randrange(embedded_model.vocab_size), draw.choice(rare)]) for _ in range(40)]
        assert "".join(pieces_of(embedded_model.decode, ids)) == embedded_model.decode(ids)


@pytest.mark.parametrize("prefill", ["Sure,", "東京🙂", "a", " ", "The long beginning of a reply that continues:"])
def test_a_reply_after_a_prefill_is_what_the_whole_has_more(embedded_model: LanguageModel, prefill: str) -> None:
    context, ids = embedded_model.encode_text(prefill), embedded_model.encode_text(" then 🙂 東京.")
    reply = "".join(pieces_of(embedded_model.decode, ids, context))
    assert prefill + reply == embedded_model.decode([*context, *ids])


def test_a_blank_that_the_tokenizer_drops_at_a_beginning_is_kept_inside_a_reply() -> None:
    """SentencePiece tokenizers drop the first blank of what they decode."""
    words = (" Once", " upon", " a", " time")

    def decode(ids: Sequence[int]) -> str:
        return "".join(words[i] for i in ids).removeprefix(" ")

    assert pieces_of(decode, [0, 1, 2, 3]) == ["Once", " upon", " a", " time", ""]
    assert pieces_of(decode, [2, 3], context=[0, 1]) == [" a", " time", ""]


def test_a_remembered_text_of_a_token_saves_every_second_decode(tiny: TinyLM) -> None:
    decoded: list[list[int]] = []

    def decode(ids: Sequence[int]) -> str:
        decoded.append(list(ids))
        return tiny.decode(ids)

    ids = list("naïve 東京 🙂!".encode())
    remembering = TextPieces(decode, text_of=tiny.token_text)
    assert [remembering.push(i) for i in ids] == pieces_of(tiny.decode, ids)[:-1]
    characters = sum(len(piece) > 0 for piece in pieces_of(tiny.decode, ids))
    wide = sum(1 for c in "naïve 東京 🙂!" if len(c.encode()) > 1)
    assert len(decoded) == len(ids) + wide  # one a token, and one more where a character had several
    assert characters > 2 * wide
    assert max(map(len, decoded)) <= 8


def test_a_copy_goes_its_own_way(tiny: TinyLM) -> None:
    first = TextPieces(tiny.decode)
    assert first.push(0xC3) == ""
    other = copy.copy(first)
    assert (first.push(0xA9), other.push(0xA8)) == ("é", "è")
    assert (first.push(97), other.push(98)) == ("a", "b")
