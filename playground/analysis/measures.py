"""Figures of a finished text: repetition, variety, spelling, and whether it holds an answer.

Each says in its name what it counts; none of them is a judgement of quality. Words are what `words` returns: lower-case
runs of letters and digits, with apostrophes inside them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from playground.errors import PlaygroundError

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of `text` in lower case: "Don't stop—2 cats!" gives don't, stop, 2, cats."""
    return WORD.findall(_plain(text))


def repeated_ngram_share(text: Sequence[str] | str, n: int = 4) -> float:
    """The share of n-grams of words that already occurred earlier in the text; 0 where there are fewer than two.

    1 − distinct/total, in [0, 1). Welleck et al. 2020 (arXiv 1908.04319) call it seq-rep-n.
    """
    grams = _ngrams(_words(text), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def dictionary_word_share(text: Sequence[str] | str) -> float:
    """The share of words that an English word list knows; 1 for a text without words.

    Counts words of letters only. A name (written with a capital inside a sentence) counts like any other word, so a good
    story stays a little below 1. Raises PlaygroundError where the word list is not installed.
    """
    alphabetic = [word for word in _words(text) if word.replace("'", "").isalpha()]
    if not alphabetic:
        return 1.0
    dictionary = _dictionary()
    known = sum(word in dictionary or word.removesuffix("'s") in dictionary for word in alphabetic)
    return known / len(alphabetic)


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether one of the answers stands in the text as whole words, whatever its case, accents and punctuation."""
    padded = f" {_normal(text)} "
    return any(f" {_normal(answer)} " in padded for answer in answers if _normal(answer))


class WordList(Protocol):
    """What the dictionary is asked."""

    def __contains__(self, word: str) -> bool: ...


@lru_cache(maxsize=1)
def _dictionary() -> WordList:
    try:
        from spellchecker import SpellChecker
    except ImportError as error:
        raise PlaygroundError(
            "The dictionary-word share needs the package pyspellchecker; install it with "
            "`pip install -r requirements-dev.txt`."
        ) from error
    return SpellChecker(language="en")


def _words(text: Sequence[str] | str) -> Sequence[str]:
    return words(text) if isinstance(text, str) else text


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("’", "'").lower()


def _normal(text: str) -> str:
    """Lower-case words of letters and digits without accents, joined by single blanks."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", bare.lower()))
