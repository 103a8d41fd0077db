"""Other characters in the place of what a person wrote, to find it again in what a template makes of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

FIRST = 0xF0000  # of a private-use plane
WORDS = "/_-"  # with letters and digits, what the words are made of that templates look for, such as /no_think


@dataclass(frozen=True)
class StandIns:
    """Messages with stand-ins for some of their characters; `meant` says what each stands for, one mapping a message."""

    texts: tuple[str, ...]
    meant: tuple[Mapping[str, str], ...]

    def restored(self, rendered: str) -> str:
        """`rendered` with the characters that were meant."""
        return rendered.translate({ord(c): meant for one in self.meant for c, meant in one.items()})

    def typed(self, rendered: str) -> bytes:
        """A byte for each character of `rendered`: 1 where a stand-in is, so that a person wrote it."""
        standins = {c for one in self.meant for c in one}
        return bytes(c in standins for c in rendered)

    def missing(self, rendered: str) -> list[int]:
        """The messages of which no stand-in is in `rendered`."""
        there = set(rendered)
        return [number for number, one in enumerate(self.meant) if one and there.isdisjoint(one)]


def for_everything(texts: Sequence[str]) -> StandIns:
    """For all characters but blanks, which templates strip."""
    return _for_characters(texts, lambda c: not c.isspace())


def for_marks(texts: Sequence[str], spellings: Iterable[str]) -> StandIns:
    """For what control tokens begin and end with, and one character of each that is spelled: a template still sees the
    other words."""
    spelled = for_spellings(texts, spellings)
    known = {c for one in spelled.meant for c in one}
    marks = _for_characters(spelled.texts, lambda c: not (c.isspace() or c.isalnum() or c in WORDS or c in known))
    return StandIns(marks.texts, tuple({**a, **b} for a, b in zip(spelled.meant, marks.meant, strict=True)))


def for_one(texts: Sequence[str], number: int) -> StandIns:
    """For all characters of one message."""
    only = for_everything([text if place == number else "" for place, text in enumerate(texts)])
    return StandIns(tuple(only.texts[number] if i == number else text for i, text in enumerate(texts)), only.meant)


def for_spellings(texts: Sequence[str], spellings: Iterable[str]) -> StandIns:
    """For the first character of every control token that is spelled, in whatever case, which templates may change: a
    template sees all but these."""
    spelled = re.compile(f"(?=(?:{'|'.join(map(re.escape, spellings)) or '(?!)'}))", re.IGNORECASE)
    free, made, meant = _free(texts), [], []
    for text in texts:
        characters, one = list(text), {}
        for match in spelled.finditer(text):
            standin = next(free)
            one[standin], characters[match.start()] = text[match.start()], standin
        made.append("".join(characters))
        meant.append(one)
    return StandIns(tuple(made), tuple(meant))


def _for_characters(texts: Sequence[str], chosen: Callable[[str], bool]) -> StandIns:
    free = _free(texts)
    meant = [{next(free): c for c in sorted(set(text)) if chosen(c)} for text in texts]
    made = [
        text.translate({ord(c): standin for standin, c in one.items()}) for text, one in zip(texts, meant, strict=True)
    ]
    return StandIns(tuple(made), tuple(meant))


def _free(texts: Sequence[str]) -> Iterator[str]:
    """Characters that nobody wrote."""
    taken = {c for text in texts for c in text}
    return (c for c in map(chr, itertools.count(FIRST)) if c not in taken)
