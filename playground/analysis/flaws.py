"""The flaws that a change of temperature trades for one another: cold replies repeat themselves, hot ones misspell.

flaws   repeated 4-grams + words that no dictionary knows + grammar errors a word, each as a share; 0 is best
"""

from __future__ import annotations

from playground.analysis.grammar import error_spans, grammar_errors_per_100_words
from playground.analysis.measures import WORD, dictionary_word_share, repeated_ngram_share

N = 4


def flaws(text: str) -> float:
    """repeated_ngram_share + (1 − dictionary_word_share) + grammar errors / words."""
    repeats, unknown = repeated_ngram_share(text, N), 1 - dictionary_word_share(text)
    return repeats + unknown + grammar_errors_per_100_words(text) / 100


def flaw_spans(text: str) -> list[tuple[int, int]]:
    """What `flaws` counts, as characters [start, stop) in rising order: the word that completes a 4-gram which stood
    earlier in the text, every word that no dictionary knows, every grammar error."""
    found = list(error_spans(text))
    places = [(match.start(), match.end(), match.group().lower()) for match in WORD.finditer(text.replace("’", "'"))]
    seen: set[tuple[str, ...]] = set()
    for i, (start, stop, word) in enumerate(places):
        gram = tuple(word for _, _, word in places[i - N + 1 : i + 1]) if i >= N - 1 else ()
        if (gram and gram in seen) or dictionary_word_share([word]) == 0:
            found.append((start, stop))
        seen.add(gram)
    return sorted(found)
