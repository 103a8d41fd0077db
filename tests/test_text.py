"""Pieces of text: they join to the whole, and none ends inside a character."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence

import pytest

from models.language_model import LanguageModel
from playground.decoding.text import LONGEST_CHARACTER, REPLACEMENT, TextPieces
from tests.sentencepiece_like import speller
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


def shares_of(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[str]:
    """The share of every token in the text of the whole."""
    pieces, shares = TextPieces(decode), [""] * len(ids)
    for place, token in enumerate(ids):
        text = pieces.push(token)
        assert "".join(pieces.shares) == text
        shares[: place + 1] = added(shares[: place + 1], pieces.shares)
    pieces.flush()
    return added(shares, pieces.shares)


def added(texts: list[str], shares: Sequence[str]) -> list[str]:
    padded = [*[""] * (len(texts) - len(shares)), *shares]
    return [a + b for a, b in zip(texts, padded, strict=True)]


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
        assert "".join(shares_of(tiny.decode, ids)) == tiny.decode(ids)


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


def test_a_decode_looks_at_a_few_tokens_however_long_the_reply_is(tiny: TinyLM) -> None:
    decoded: list[int] = []

    def decode(ids: Sequence[int]) -> str:
        decoded.append(len(ids))
        return tiny.decode(ids)

    for text in ("plain words. " * 30, "naïve 東京 🙂! " * 30):
        ids = list(text.encode())
        decoded.clear()
        assert "".join(pieces_of(decode, ids)) == text
        assert max(decoded) <= 16
        assert len(decoded) <= 2.5 * len(ids)


def test_forty_stray_bytes_are_forty_marks_of_forty_tokens_and_none_waits_for_the_end(tiny: TinyLM) -> None:
    for byte in (0x80, 0xBF, 0xC3, 0xE2, 0xF0, 0xFF):
        ids = [*b"ab", *[byte] * 40, *b"c"]
        pieces = TextPieces(tiny.decode)
        assert [pieces.push(token) for token in ids[:2]] == ["a", "b"]
        seen = ""
        for count, token in enumerate(ids[2:], start=1):
            seen += pieces.push(token)
            assert len(seen) >= min(count, 40) - LONGEST_CHARACTER, (hex(byte), count)
        assert seen == REPLACEMENT * 40 + "c"
        assert shares_of(tiny.decode, ids) == ["a", "b", *[REPLACEMENT] * 40, "c"]
        assert shares_of(tiny.decode, ids[:-1]) == ["a", "b", *[REPLACEMENT] * 40]


def test_a_stray_beginning_belongs_to_the_token_that_began_it(tiny: TinyLM) -> None:
    assert shares_of(tiny.decode, [0xE2, 0x98, *b"x"]) == [REPLACEMENT, "", "x"]
    assert shares_of(tiny.decode, [0xE2, 0x98, 0x80, 0xE2, *b"x"]) == ["", "", "☀", REPLACEMENT, "x"]
    assert shares_of(tiny.decode, [0xF0, 0x9F, 0x98]) == [REPLACEMENT, "", ""]


@pytest.fixture(scope="module")
def sentences() -> LanguageModel:
    return speller()


@pytest.mark.parametrize("text", [*TEXTS[:3], "Once upon a time ☀ there was  a lamp.\n It was lit."])
def test_pieces_of_a_sentencepiece_tokenizer_join_to_the_decoded_whole(sentences: LanguageModel, text: str) -> None:
    ids = sentences.encode_text(text)
    assert any(token >= sentences.tokenizer.vocab_size - 256 for token in ids) or text == TEXTS[0]
    assert "".join(pieces_of(sentences.decode, ids)) == sentences.decode(ids) == text
    assert "".join(shares_of(sentences.decode, ids)) == text


def test_stray_bytes_of_a_sentencepiece_tokenizer_are_their_tokens_and_spoil_no_character(
    sentences: LanguageModel,
) -> None:
    def byte(value: int) -> int:
        return int(sentences.tokenizer.convert_tokens_to_ids(f"<0x{value:02X}>"))

    word, sun = sentences.encode_text("the")[-1:], [byte(value) for value in "☀".encode()]
    for value in (0x80, 0xE2, 0xFF):
        ids = [*word, *sun, *[byte(value)] * 40, *word]
        shares = shares_of(sentences.decode, ids)
        assert shares[1:4] == ["", "", "☀"]
        assert shares[4:44] == [REPLACEMENT] * 40
        assert "".join(pieces_of(sentences.decode, ids)) == "".join(shares)


def test_a_token_without_a_text_takes_no_blank_from_the_next(sentences: LanguageModel) -> None:
    unknown, (a, b) = 0, (sentences.encode_text(text)[0] for text in ("the", "story"))
    assert pieces_of(sentences.decode, [a, unknown, b])[2].startswith(" ")
    for ids in ([a, unknown, b], [unknown, a, unknown, unknown, b], [*[unknown] * 30, a, b]):
        assert "".join(pieces_of(sentences.decode, ids)) == sentences.decode(ids)
        assert " " in sentences.decode(ids)


def test_a_copy_goes_its_own_way(tiny: TinyLM) -> None:
    first = TextPieces(tiny.decode)
    assert first.push(0xC3) == ""
    other = copy.copy(first)
    assert (first.push(0xA9), other.push(0xA8)) == ("é", "è")
    assert (first.push(97), other.push(98)) == ("a", "b")
