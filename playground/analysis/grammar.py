"""Grammar errors of a finished text, counted offline by Harper (the package harper-py, Apache-2.0; no network, no server).

What counts is what breaks a rule of English: agreement, articles, cases, wrong forms, sentence boundaries, missing or doubled
words. Left out are the kinds that another measure counts (spelling: `dictionary_word_share`), that are taste (style, word
choice, long sentences, redundancy, regions), and formatting, since a reply that ends at its token limit leaves quotation
marks open. Harper's rules find few of all errors, so compare texts by it; do not read it as a number of mistakes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

from playground.analysis.measures import words
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
    return len(_errors(text))


def grammar_errors_per_100_words(text: str) -> float:
    """`grammar_errors` for every hundred words of `words`; 0 for a text without words."""
    count = len(words(text))
    return 100 * grammar_errors(text) / count if count else 0.0


def error_spans(text: str) -> list[tuple[int, int]]:
    """Where the errors of `grammar_errors` stand, as characters [start, stop)."""
    return [(lint.span.start, lint.span.end) for lint in _errors(text)]


class Linter(Protocol):
    """What the grammar checker is asked."""

    def lint(self, text: str, *, language: str) -> list[Any]: ...


def _errors(text: str) -> list[Any]:
    return [lint for lint in _linter().lint(text, language="plaintext") if lint.lint_kind in KINDS]


@lru_cache(maxsize=1)
def _linter() -> Linter:
    try:
        from harper import Linter as Harper
    except ImportError as error:
        raise PlaygroundError(
            "Grammar errors need the package harper-py; install it with `pip install -r requirements-dev.txt`."
        ) from error
    return Harper()
