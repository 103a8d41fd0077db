"""Parts over TinyLM with votes in a real store, as the Arena leaves them: temperatures drawn from the grid."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from playground import parts as composition
from playground.config import Settings
from playground.decoding.trace import Request
from playground.parts import Parts
from playground.records import Battle
from tests.tiny_lm import TinyLM

VOTER, NOTICE = "voter-1", "2026-11"
TOKEN = ("random:per=token", "random:per=token")
SEQUENCE = ("random:per=reply", "random:per=reply")


def tiny_parts(monkeypatch: pytest.MonkeyPatch, settings: Settings, visitors: bool = False) -> Parts:
    """The real parts, over TinyLM; training_child.py loads the same."""
    monkeypatch.setattr(composition, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))
    return composition.load_parts(settings, visitors=visitors)


def add_votes(
    parts: Parts, votes: int, prompts: int = 4, tokens: int = 12, arms: tuple[str, str] = TOKEN, blind: bool = True
) -> None:
    """Battles over some prompts; the warmer reply wins where the prompt's number is even, else the colder; equal is a tie."""
    parts.store.agree(VOTER, NOTICE)
    arms = (str(parts.catalogue.parse(arms[0])), str(parts.catalogue.parse(arms[1])))
    for number in range(votes):
        request = Request(f"Prompt {number % prompts}.", seed=number, max_tokens=tokens)
        first, second = parts.generate(request, arms)
        warmth = [sum(step.temperature for step in trace.steps) for trace in (first, second)]
        warmer = "a" if warmth[0] > warmth[1] else "b"
        winner = warmer if number % prompts % 2 == 0 else "ba"["ab".index(warmer)]
        outcome = "tie" if warmth[0] == warmth[1] else winner
        battle = Battle(
            uuid.uuid4().hex, "collect" if blind else "evaluate", blind, request, None, arms, "a",
            0.5 if blind else None, VOTER, NOTICE, datetime.now(UTC),
        )  # fmt: skip
        if blind:
            token = parts.store.open_battle(battle)
            parts.store.finish_battle(battle.id, (first, second))
            parts.store.vote(token, VOTER, outcome)  # type: ignore[arg-type]
        else:
            parts.store.record_open_vote(battle, (first, second), outcome)  # type: ignore[arg-type]
