"""Measures on texts whose figures can be counted by hand."""

import sys

import pytest

from playground.analysis import measures
from playground.analysis.measures import contains_answer, dictionary_word_share, repeated_ngram_share, words
from playground.errors import PlaygroundError


def test_words_are_lower_case_and_keep_apostrophes_inside():
    assert words("Don’t stop—2 Cats! 'quoted' x_y") == ["don't", "stop", "2", "cats", "quoted", "x", "y"]


def test_repeated_share_counts_the_later_occurrences():
    # a b c d | b c d a | c d a b | d a b c | a b c d: five 4-grams, the last repeats the first
    assert repeated_ngram_share("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_ngram_share(["a"] * 10, n=4) == pytest.approx(6 / 7)
    assert repeated_ngram_share("one two three four five") == 0


@pytest.mark.parametrize("text", ["", "one", "one two three"])
def test_a_text_too_short_for_an_ngram_repeats_nothing(text):
    assert repeated_ngram_share(text) == 0


def test_repetition_ignores_case_and_punctuation():
    assert repeated_ngram_share("The cat sat down. THE CAT, sat down!") == repeated_ngram_share("the cat sat down " * 2)


def test_dictionary_share_counts_letters_only_and_knows_possessives():
    assert dictionary_word_share("The cat's hat is blorptanque") == pytest.approx(4 / 5)
    assert dictionary_word_share("the 17 cats") == 1
    assert dictionary_word_share("") == 1


def test_a_missing_word_list_is_one_sentence(monkeypatch):
    measures._dictionary.cache_clear()
    monkeypatch.setitem(sys.modules, "spellchecker", None)
    with pytest.raises(PlaygroundError, match=r"pip install -r requirements-dev\.txt"):
        dictionary_word_share("hello")
    measures._dictionary.cache_clear()


@pytest.mark.parametrize(
    ("text", "answers", "found"),
    [
        ("The capital is Paris.", ["Paris"], True),
        ("The capital is PARIS!", ["paris"], True),
        ("It is a comparison.", ["paris"], False),
        ("Bogotá, of course", ["Bogota"], True),
        ("It has twenty-four hours.", ["24", "twenty four"], True),
        ("carbon-dioxide", ["carbon dioxide"], True),
        ("carbon and dioxide", ["carbon dioxide"], False),
        ("240 hours", ["24"], False),
        ("anything", ["..."], False),
        ("", ["x"], False),
    ],
)
def test_an_answer_is_found_as_whole_words_only(text, answers, found):
    assert contains_answer(text, answers) is found
