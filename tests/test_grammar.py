"""Grammar errors: what Harper counts here, what is left to other measures, and the sentence without the package."""

import builtins

import pytest

from playground.analysis import grammar
from playground.analysis.grammar import error_spans, grammar_errors, grammar_errors_per_100_words
from playground.errors import PlaygroundError

SOUND = "The sun rose over the hill. She walked to the river and sat down on a stone."


def test_a_correct_text_has_no_errors():
    assert grammar_errors(SOUND) == 0
    assert error_spans(SOUND) == []


def test_articles_agreement_and_doubled_words_are_errors():
    text = "This is an test of the the linter. She go to school."
    assert grammar_errors(text) == 3
    assert [text[start:stop] for start, stop in error_spans(text)] == ["an", "the the", "go"]


def test_unknown_words_are_left_to_the_dictionary():
    text = "She walked to the grelbix and sat down on a florp."
    assert grammar_errors(text) == 0


def test_long_sentences_and_open_quotation_marks_are_no_errors():
    assert grammar_errors('He said: "I am here and the sun is up') == 0
    assert grammar_errors("He walked " + "and walked and rested " * 20 + "and slept.") == 0


def test_errors_are_counted_for_a_hundred_words():
    assert grammar_errors_per_100_words("This is an test of it.") == pytest.approx(100 / 6)
    assert grammar_errors_per_100_words("") == 0


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "harper":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    grammar._linter.cache_clear()
    with pytest.raises(PlaygroundError, match="install it with"):
        grammar_errors("Text.")
