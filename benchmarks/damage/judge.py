"""Whether what came of a damaged model may come of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from benchmarks.damage.attempt import Given
from benchmarks.damage.kind import REFUSED, RIGHT, Kind
from benchmarks.damage.references import Answer

FAULT = "FAULT"
LONGEST: Final = 400
NOISE: Final = {"float32": 0.002, "float16": 0.05, "bfloat16": 0.5, "gguf": 0.5, "int8": 1.0}  # nats
LLAMA_NOISE: Final = 0.5  # llama.cpp rounds its activations to eight bits
UNREADABLE: Final = re.compile(
    r"Traceback|\b[A-Za-z]*(Error|Exception|Warning)\b|<class|NoneType|0x[0-9a-f]{5,}|\bself\b|\w+\(\)|\n"
)


@dataclass(frozen=True)
class Verdict:
    """RIGHT, REFUSED or FAULT, and why or what was said."""

    what: str
    said: str


def sentence_fault(sentence: str, says: str = "") -> str:
    """What keeps a message from being one sentence that a user can read; empty where nothing does."""
    if len(sentence) > LONGEST:
        return f"a message of {len(sentence)} characters: {sentence}"
    found = UNREADABLE.search(sentence)
    if found:
        return f"{found.group(0)!r} in the message: {sentence}"
    if not sentence or sentence[-1] not in ".!":
        return f"no sentence: {sentence}"
    return "" if says in sentence else f"{says!r} is not in the message: {sentence}"


def verdict(kind: Kind, given: Given, again: Given, answer: Answer | None, gguf: bool) -> Verdict:
    """`again` is a second try of the same; `answer` the reference's, where there were tokens."""
    if given.fault or again.fault:
        return Verdict(FAULT, given.fault or again.fault)
    if (given.tokens, bool(given.sentence)) != (again.tokens, bool(again.sentence)):
        return Verdict(
            FAULT, f"two tries differ: {given.tokens or given.sentence} and {again.tokens or again.sentence}"
        )
    if given.sentence:
        wrong = sentence_fault(given.sentence, kind.says)
        refused = kind.may != RIGHT and not wrong
        return Verdict(REFUSED if refused else FAULT, wrong or f"{'' if refused else 'refused: '}{given.sentence}")
    assert answer is not None
    if answer.refused:
        return Verdict(FAULT, f"tokens where the reference gives none ({answer.refused})")
    noise = max(NOISE[given.precision], LLAMA_NOISE if gguf else 0.0)
    if not answer.behind <= noise:
        return Verdict(FAULT, f"tokens {answer.behind:.3g} nats behind the reference's in {given.precision}")
    if given.prompt not in answer.prompts:
        return Verdict(FAULT, f"prompt ids {given.prompt} for {answer.prompts}")
    return Verdict(FAULT, "tokens of what must be refused") if kind.may == REFUSED else Verdict(RIGHT, "")
