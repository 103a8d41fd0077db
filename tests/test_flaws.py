"""Flaws: repeats, unknown words and grammar errors add up, and each is found where it stands."""

import pytest

from playground.analysis.flaws import flaw_spans, flaws
from playground.analysis.grammar import grammar_errors

SOUND = "The sun rose over the hill. She walked to the river and sat down on a stone."


def spotted(text):
    return [text[start:stop] for start, stop in flaw_spans(text)]


def test_a_sound_text_has_none():
    assert flaws(SOUND) == 0
    assert flaw_spans(SOUND) == []


def test_unknown_words_and_repeats_add_up():
    text = "She walked to the grelbix and sat down on a florp."
    assert flaws(text) == pytest.approx(2 / 11)
    assert spotted(text) == ["grelbix", "florp"]
    loop = "You can see the " * 6  # 24 words, 21 4-grams, of which 4 differ
    assert flaws(loop) == pytest.approx(17 / 21 + grammar_errors(loop) / 24)


def test_the_word_that_completes_a_repeated_4_gram_is_blamed():
    text = "One small dog ran home. Then one small dog ran home again."
    assert [start for start, _ in flaw_spans(text)] == [text.rindex("ran"), text.rindex("home")]


def test_curly_apostrophes_and_accents_keep_their_places():
    text = "It isn’t the café’s fault that the grelbix ran."
    assert spotted(text)[-1] == "grelbix"
