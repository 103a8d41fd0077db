"""The words that a newcomer needs, in one sentence each: the page shows them at its top and in Methods."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "token": "A piece of text that the model writes at once: a short word, or a part of a longer one.",
    "temperature": (
        "How freely the next token is drawn: 0 always takes the likeliest, 1 draws by the model's own odds, and above 1 "
        "rare tokens gain."
    ),
    "entropy": (
        "How open it is what comes next, in nats: near 0 the model is sure of one token, at 3 it hesitates among about "
        "twenty."
    ),
    "policy": "What chooses the temperature, or cuts unlikely tokens off, before each token is drawn. A lane has one.",
    "head": (
        "A small trained network on top of the language model, which stays as it is: it reads the model's inner state and "
        "chooses the temperature."
    ),
}
