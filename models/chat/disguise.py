"""A tokenizer whose control tokens are spelled as nobody spells them; in all else it is the one that it was made from."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

PRIVATE = range(0x100000, 0x10FFFE)  # the last plane, whose characters mean what people agree on
LONG = 6  # that nobody types these by chance


class Disguise:
    """Encodes text in which control tokens are words that are drawn by chance, so that what reads like one is text.

    They stand in the vocabulary under those words too: no model can make one out of pieces. `control` has the control
    tokens of `backend`.
    """

    def __init__(self, backend: Tokenizer, control: Mapping[int, str]) -> None:
        begin = "".join(chr(secrets.choice(PRIVATE)) for _ in range(LONG))
        self._spelled = {spelling: begin + chr(PRIVATE[n]) for n, spelling in enumerate(control.values())}
        state = json.loads(backend.to_str())
        known = {entry["content"]: entry["id"] for entry in state["added_tokens"]}
        for entry in state["added_tokens"]:
            entry["content"] = self._spelled.get(entry["content"], entry["content"])
        self._rename(state["model"])
        state |= {"post_processor": None, "truncation": None, "padding": None}
        self._backend = Tokenizer.from_str(json.dumps(state))
        here = {spelling: self._backend.token_to_id(self._spelled.get(spelling, spelling)) for spelling in known}
        self._ids = {here[spelling]: known[spelling] for spelling in known}

    def spell(self, spelling: str) -> str:
        """The word for a control token."""
        return self._spelled[spelling]

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which control tokens are those words."""
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return [self._ids.get(token, token) for token in ids]

    def _rename(self, model: dict[str, Any]) -> None:
        """The vocabulary's control tokens too, and no merge makes one."""
        spelled = self._spelled
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {spelled.get(piece, piece): token for piece, token in vocabulary.items()}
        else:
            model["vocab"] = [[spelled.get(piece, piece), score] for piece, score in vocabulary]
        if model.get("unk_token") is not None:
            model["unk_token"] = spelled.get(model["unk_token"], model["unk_token"])
        if "merges" in model:
            model["merges"] = [merge for merge in model["merges"] if spelled.keys().isdisjoint(_made(merge))]


def _made(merge: str | list[str]) -> tuple[str, str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second, first + second
