"""Grammar errors of a finished text, counted offline by Harper (the package harper-py, Apache-2.0; no network, no server).

What counts is what breaks a rule of English: agreement, articles, cases, wrong forms, sentence boundaries, missing or doubled
words. Left out are the kinds that another measure counts (spelling: `dictionary_word_share`), that are taste (style, word
choice, long sentences, redundancy, regions), and formatting, since a reply that ends at its token limit leaves quotation
marks open. Harper's rules find few of all errors, so compare texts by it; do not read it as a number of mistakes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

from playground.analysis.measures import dictionary_word_share, repeated_ngram_share, words
from playground.errors import PlaygroundError

KINDS = frozenset(
    {
        "Agreement",
        "BoundaryError",
        "Capitalization",
        "Eggcorn",
        "Grammar",
        "Malapropism",
        "Miscellaneous",
        "Nonstandard",
        "Punctuation",
        "Repetition",
        "Typo",
        "Usage",
    }
)


def grammar_errors(text: str) -> int:
    """How many errors of KINDS Harper finds. Raises PlaygroundError where harper-py is not installed."""
    return sum(lint.lint_kind in KINDS for lint in _linter().lint(text, language="plaintext"))


def grammar_errors_per_100_words(text: str) -> float:
    """`grammar_errors` for every hundred words of `words`; 0 for a text without words."""
    count = len(words(text))
    return 100 * grammar_errors(text) / count if count else 0.0


def flaws(text: str) -> float:
    """Repeated 4-grams, words that no dictionary knows and grammar errors, each as a share; 0 is best.

    repeated_ngram_share + (1 − dictionary_word_share) + grammar errors / words: the sum that a change of temperature
    trades one part of for another, since cold repeats and hot misspells.
    """
    repeats, unknown = repeated_ngram_share(text), 1 - dictionary_word_share(text)
    return repeats + unknown + grammar_errors_per_100_words(text) / 100


class Linter(Protocol):
    """What the grammar checker is asked."""

    def lint(self, text: str, *, language: str) -> list[Any]: ...


@lru_cache(maxsize=1)
def _linter() -> Linter:
    try:
        from harper import Linter as Harper
    except ImportError as error:
        raise PlaygroundError(
            "Grammar errors need the package harper-py; install it with `pip install -r requirements-dev.txt`."
        ) from error
    return Harper()
