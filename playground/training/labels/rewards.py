"""Rewards that a program can verify. They label candidates; they are not preferences of people.

A reward scores one reply to one prompt record (higher is better) and says which pairs of replies may be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playground.analysis.flaws import flaws
from playground.analysis.measures import contains_answer, dictionary_word_share, repeated_ngram_share
from playground.errors import PlaygroundError

WORD_SHARE_LOSS = 0.02


@dataclass(frozen=True)
class Reward:
    """score(record, text) of one reply; comparable(winner, loser) says whether the pair may teach.

    reads_answers   whether a prompt's record must have `answers`
    """

    name: str
    family: str
    summary: str
    score: Callable[[Mapping[str, Any], str], float]
    comparable: Callable[[str, str], bool]
    reads_answers: bool = False


def _fewer_repeats(record: Mapping[str, Any], text: str) -> float:
    return -repeated_ngram_share(text, 4)


def _keeps_words(winner: str, loser: str) -> bool:
    """Repetition alone would teach "always hottest": a winner may lose at most .02 of its dictionary-word share."""
    return dictionary_word_share(winner) >= dictionary_word_share(loser) - WORD_SHARE_LOSS


def _fewer_flaws(record: Mapping[str, Any], text: str) -> float:
    return -flaws(text)


def _contains_answer(record: Mapping[str, Any], text: str) -> float:
    return float(contains_answer(text, record["answers"]))


def _always(winner: str, loser: str) -> bool:
    return True


REWARDS = (
    Reward("fewer-repeats", "creative", "minus the share of repeated 4-grams of words", _fewer_repeats, _keeps_words),
    Reward(
        "fewer-flaws",
        "creative",
        "minus repeated 4-grams, unknown words and grammar errors, each as a share",
        _fewer_flaws,
        _always,
    ),
    Reward(
        "contains-answer",
        "facts",
        "1 where the reply holds an accepted answer, else 0",
        _contains_answer,
        _always,
        reads_answers=True,
    ),
)


def reward_named(name: str) -> Reward:
    """Raises PlaygroundError for a name that is none of REWARDS."""
    for reward in REWARDS:
        if reward.name == name:
            return reward
    raise PlaygroundError(f"`reward` must be one of {', '.join(r.name for r in REWARDS)}, got {name!r}.")


def check_answers(reward: Reward, records: Sequence[Mapping[str, Any]]) -> None:
    """Raises PlaygroundError where `reward` reads accepted answers and a prompt has none."""
    for record in records if reward.reads_answers else ():
        answers = record.get("answers")
        if not (isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers)):
            raise PlaygroundError(
                f"`answers` must be a list of texts for the reward {reward.name}; the prompt {record['id']!r} has none."
            )
