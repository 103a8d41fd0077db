"""Arena's handlers: nothing but text before the vote, one vote a battle, names after it."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from playground.config import Settings
from playground.ui import notice, places
from playground.ui.arena import Arena
from playground.ui.places import Places
from playground.ui.runs import Runs
from tests.scripted import ScriptedParts

VOTER = "a-voter"
VISITOR: Any = SimpleNamespace(session_hash="one page")


@pytest.fixture
def tab(settings: Settings) -> Arena:
    made = Arena(ScriptedParts(settings), Runs(), Places(1), random.Random(3))  # type: ignore[arg-type]
    made.parts.store.agree(VOTER, notice.VERSION)
    return made


def battle(tab: Arena, prompt: str = "Tell me.") -> list[Any]:
    return list(tab.battle(prompt, "", "", "", "", VOTER, VISITOR))


def test_fifty_battles_send_only_id_run_seq_text_and_done_until_the_vote(
    tab: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "INTERVAL", 0.0)
    for _ in range(50):
        messages = battle(tab)
        assert len(messages) > 10
        for message in messages:
            assert set(message) == {"battle", "run", "seq", "text", "done"}
        sent = json.dumps(
            [{**message, "battle": "", "run": ""} for message in messages]
        )  # random: any word may be in them
        assert not any(
            word in sent for word in ("adaptive", "fixed", "edt", "shuffled", "temperature", "entropy", "seed")
        )
        assert [message["done"] for message in messages] == [False] * (len(messages) - 1) + [True]
        run = tab.runs.get(messages[-1]["run"])
        assert run.sealed


def test_swapping_the_arms_names_changes_no_byte_but_ids(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "INTERVAL", 0.0)
    sent = []
    for learned in (["adaptive-token"], ["adaptive-sequence"]):
        tab = Arena(ScriptedParts(settings), Runs(), Places(1), random.Random(5))  # type: ignore[arg-type]
        tab.parts.arena = tuple(learned)  # type: ignore[misc]
        tab.parts.store.agree(VOTER, notice.VERSION)
        sent.append(json.dumps([{**message, "battle": "", "run": ""} for message in battle(tab)]))
    assert sent[0] == sent[1]


@pytest.mark.parametrize("choice", ["left", "right", "tie", "both_bad"])
def test_a_vote_names_the_candidate_not_the_side_and_then_reveals(tab: Arena, choice: str) -> None:
    shown = battle(tab)[-1]
    sentence, board = tab.vote(choice, shown, VOTER)
    assert "Saved" in sentence
    assert board is not None
    (record,) = list(tab.parts.store.preferences())
    sides = {"left": record.left, "right": "b" if record.left == "a" else "a"}
    assert record.outcome == sides.get(choice, choice)
    left, right = (record.a, record.b) if record.left == "a" else (record.b, record.a)
    assert [head["spec"] for head in board["heads"]] == [left[0].policy, right[0].policy]
    assert ["".join(token[0] for token in lane["tokens"]) for lane in board["lanes"]] == shown["text"]


def test_a_second_vote_changes_nothing(tab: Arena) -> None:
    shown = battle(tab)[-1]
    tab.vote("left", shown, VOTER)
    assert tab.vote("tie", shown, VOTER)[1] is None
    assert tab.vote("left", shown, VOTER)[1] is not None  # the same vote again is the same receipt
    assert len(list(tab.parts.store.preferences())) == 1


def test_nobody_votes_on_a_running_foreign_or_invented_battle(tab: Arena) -> None:
    stream = tab.battle("Tell me.", "", "", "", "", VOTER, VISITOR)
    running = next(stream)
    assert tab.vote("left", running, VOTER)[1] is None
    stream.close()
    assert tab.vote("left", running, VOTER)[1] is None
    shown = battle(tab)[-1]
    for message, voter in (
        (shown, "another"),
        ({**shown, "battle": shown["battle"] + "x"}, VOTER),
        (None, VOTER),
        (shown, None),
    ):
        assert tab.vote("left", message, voter)[1] is None
    assert list(tab.parts.store.preferences()) == []


def test_leaving_a_battle_stops_the_decoder_and_closes_the_battle(tab: Arena) -> None:
    stream = tab.battle("Tell me.", "", "", "", "", VOTER, VISITOR)
    next(stream)
    stream.close()
    assert tab.parts.closed == [0]  # type: ignore[attr-defined]
    assert tab.parts.store.counts()["battles_failed"] == 1


def test_nothing_is_stored_before_the_notice_is_agreed_to(tab: Arena) -> None:
    for voter in (None, "newcomer"):
        (message,) = list(tab.battle("Tell me.", "", "", "", "", voter, VISITOR))
        assert "notice" in message["error"]
    assert tab.parts.store.counts()["battles_running"] == 0


def test_one_who_waits_for_a_battle_is_told_so_and_another_battle_ends_the_one_before(tab: Arena) -> None:
    first = tab.battle("Tell me.", "", "", "", "", VOTER, VISITOR)
    assert "text" in next(first)
    second = tab.battle("Tell me.", "", "", "", "", VOTER, VISITOR)
    told = next(second)["waiting"]
    assert "you are next" in told
    assert "Stop" not in told  # the Arena has no such button
    assert [message["done"] for message in first if message["done"]] == []
    assert list(second)[-1]["done"]
    assert tab.parts.store.counts()["battles_failed"] == 1
