"""Which member of a list of entities a reply mentions first.

Lower case, accents and punctuation do not matter, and a plain English plural counts as its singular. A member may have
other names, written behind a bar: "united states|usa|america" is one member.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache


def first_mentioned(text: str, members: Sequence[str]) -> str | None:
    """The member that stands first in `text` as whole words (the longest one there), or None."""
    said = _words(text)
    names = _names(tuple(members))
    longest = max((len(name) for name in names), default=0)
    for start in range(len(said)):
        for length in range(longest, 0, -1):
            member = names.get(tuple(said[start : start + length]))
            if member is not None:
                return member
    return None


def distinct_mentioned(texts: Iterable[str], members: Sequence[str]) -> int:
    """How many different members the replies mention first."""
    return len({first_mentioned(text, members) for text in texts} - {None})


@lru_cache(maxsize=1024)
def _names(members: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Every name of every member, in the singular and the plural, with the member it stands for."""
    names: dict[tuple[str, ...], str] = {}
    for member in members:
        for alias in member.split("|"):
            parts = _words(alias)
            for last in _numbers(parts[-1]):
                names.setdefault((*parts[:-1], last), member)
    return names


def _numbers(word: str) -> tuple[str, ...]:
    """A noun as written, and its regular plural or, of a plural, its singular."""
    forms = [word, word + "s", word + "es"]
    if word.endswith("y"):
        forms.append(word[:-1] + "ies")
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        forms.append(word[:-1])
    return tuple(forms)


def _words(text: str) -> list[str]:
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", bare.lower())
