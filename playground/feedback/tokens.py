"""Battle tokens: the name of a battle that the page holds is itself the signed right to vote on it.

    <battle id>.<expiry, seconds since 1970>.<base64url of HMAC-SHA256(key, [battle id, voter, expiry])>

A token is worth nothing to another voter, and it expires 30 minutes after the battle was opened, whether or not the
replies have finished by then. The key lies in the data folder and outlives a restart; without it no token can be made.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError

LIFETIME = timedelta(minutes=30)
KEY_BYTES = 32
LONGEST = 160
BATTLE_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
TOKEN = re.compile(rf"({BATTLE_ID.pattern})\.([0-9]{{1,12}})\.([A-Za-z0-9_-]{{43}})", re.ASCII)
INVALID = "This battle was opened by another visitor or its token has been altered; start a new battle to vote."


@dataclass(frozen=True, slots=True)
class Claim:
    """What a genuine token says."""

    battle_id: str
    expires: datetime

    def require_live(self, now: datetime) -> None:
        if now >= self.expires:
            minutes = LIFETIME.total_seconds() / 60
            raise PlaygroundError(
                f"A battle can be voted on for {minutes:g} minutes and this one has expired; start a new one."
            )


class Tokens:
    """Makes and checks tokens with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key must have {KEY_BYTES} bytes, got {len(key)}.")
        self._key = key

    def issue(self, battle_id: str, voter: str, now: datetime) -> tuple[str, datetime]:
        """A token and the moment it expires, a whole second."""
        if not BATTLE_ID.fullmatch(battle_id):
            raise PlaygroundError(f"A battle id must be 1 to 64 letters, digits and hyphens, got {battle_id[:80]!r}.")
        expiry = int((now + LIFETIME).timestamp())
        return f"{battle_id}.{expiry}.{self._signature(battle_id, voter, expiry)}", _moment(expiry)

    def read(self, token: object, voter: str) -> Claim:
        """The claim of this voter's genuine token, live or not. Raises PlaygroundError for any other input."""
        match = TOKEN.fullmatch(token) if isinstance(token, str) and len(token) <= LONGEST else None
        if match is None:
            raise PlaygroundError(INVALID)
        battle_id, expiry, signature = match[1], int(match[2]), match[3]
        if match[2] != str(expiry) or not hmac.compare_digest(self._signature(battle_id, voter, expiry), signature):
            raise PlaygroundError(INVALID)
        return Claim(battle_id, _moment(expiry))

    def verify(self, token: object, voter: str, now: datetime) -> str:
        """The battle id of a token that is genuine, this voter's and not expired. Raises PlaygroundError otherwise."""
        claim = self.read(token, voter)
        claim.require_live(now)
        return claim.battle_id

    def _signature(self, battle_id: str, voter: str, expiry: int) -> str:
        message = canonical_json([battle_id, voter, expiry]).encode("utf-8", "surrogatepass")
        digest = hmac.new(self._key, message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def load_key(path: Path) -> bytes:
    """The signing key at `path`; made on first use, readable by its owner alone, never half written.

    Raises PlaygroundError where the file cannot be read or is not a key.
    """
    try:
        if not path.exists():
            _create_key(path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise OSError(errno.EINVAL, "not a regular file")
        with path.open("rb") as file:
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise PlaygroundError(
            f"The signing key {path} must be readable and its folder writable ({error.strerror})."
        ) from None
    if len(key) != KEY_BYTES:
        raise PlaygroundError(
            f"The signing key {path} must have {KEY_BYTES} bytes, got {found.st_size}; delete it to make a new one."
        )
    return key


def _create_key(path: Path) -> None:
    """Written aside and linked into place: of several processes one wins, and all read the winner's key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
