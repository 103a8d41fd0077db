"""A checksum over everything an export says about a vote, so that one flipped bit is noticed.

SQLite's quick_check finds a broken page, not a changed value.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from playground.decoding.trace import canonical_json
from playground.feedback.schema import utc_text
from playground.records import Battle, Vote


def vote_checksum(battle: Battle, vote: Vote, digests: tuple[str, str]) -> str:
    """sha256 over the canonical JSON of the vote, its battle and the ids of both traces."""
    content = {
        "battle": {**asdict(battle), "created": utc_text(battle.created)},
        "vote": {**asdict(vote), "created": utc_text(vote.created)},
        "traces": list(digests),
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
