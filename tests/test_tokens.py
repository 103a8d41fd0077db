"""A battle token is worth something only unaltered, to its voter, in its time."""

from __future__ import annotations

import random
import stat
import string
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.feedback.tokens import INVALID, LIFETIME, Tokens, load_key

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BATTLE = "0e4bb9a2-6b0a-4a6b-9e5c-2f0f6f9f2c11"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(bytes(range(32)))


def test_a_token_names_its_battle_until_it_expires(tokens: Tokens) -> None:
    token, expires = tokens.issue(BATTLE, "voter", NOW)
    assert expires == NOW + LIFETIME
    assert tokens.verify(token, "voter", NOW) == BATTLE
    assert tokens.verify(token, "voter", expires - timedelta(microseconds=1)) == BATTLE
    with pytest.raises(PlaygroundError, match="30 minutes"):
        tokens.verify(token, "voter", expires)


def test_a_token_is_worth_nothing_to_another_voter_or_under_another_key(tokens: Tokens) -> None:
    token, _ = tokens.issue(BATTLE, "voter", NOW)
    for voter in ("voter2", "Voter", "", "voter|", "\ud800"):
        with pytest.raises(PlaygroundError, match=INVALID):
            tokens.verify(token, voter, NOW)
    with pytest.raises(PlaygroundError, match=INVALID):
        Tokens(bytes(32)).verify(token, "voter", NOW)


def test_a_thousand_altered_tokens_are_refused(tokens: Tokens) -> None:
    token, _ = tokens.issue(BATTLE, "voter", NOW)
    draw = random.Random(0)
    alphabet = string.ascii_letters + string.digits + "-_."
    refused = 0
    for _ in range(1000):
        at = draw.randrange(len(token))
        altered = token[:at] + draw.choice(alphabet.replace(token[at], "")) + token[at + 1 :]
        with pytest.raises(PlaygroundError, match=INVALID):
            tokens.read(altered, "voter")
        refused += 1
    assert refused == 1000


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        b"x",
        [],
        "",
        ".",
        "..",
        BATTLE,
        f"{BATTLE}.1.",
        "x" * 10_000_000,
        f"{BATTLE}.٣.{'A' * 43}",
        "a.1." + "é" * 43,
    ],
)
def test_what_is_no_token_is_refused(tokens: Tokens, token: object) -> None:
    with pytest.raises(PlaygroundError, match=INVALID):
        tokens.read(token, "voter")


def test_an_expiry_has_one_spelling(tokens: Tokens) -> None:
    token, _ = tokens.issue(BATTLE, "voter", NOW)
    battle, expiry, signature = token.split(".")
    with pytest.raises(PlaygroundError, match=INVALID):
        tokens.read(f"{battle}.0{expiry}.{signature}", "voter")


@pytest.mark.parametrize("battle", ["", "a.b", "x" * 65, "é", "a b"])
def test_a_battle_id_that_would_not_parse_is_refused(tokens: Tokens, battle: str) -> None:
    with pytest.raises(PlaygroundError, match="battle id"):
        tokens.issue(battle, "voter", NOW)


def test_the_key_is_private_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "signing.key"
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {path.read_bytes()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["signing.key"]


def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(b"short")
    with pytest.raises(PlaygroundError, match="delete it to make a new one"):
        load_key(path)
    assert path.read_bytes() == b"short"
    with pytest.raises(PlaygroundError, match="must be readable"):
        load_key(tmp_path)
