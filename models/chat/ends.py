"""Which tokens end a reply: all that the tokenizer, the configurations and the chat template name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.chat.control import control_tokens
from models.chat.rendering import RefusedError, Template

REPLY = "\U000f0000"  # no template writes it of its own accord


def end_ids_of(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """The end tokens of the generation configuration, which for a GGUF file has those that the file names, and of the
    tokenizer, and that with which the chat template ends a reply."""
    configured = generation_config.eos_token_id
    ids = configured if isinstance(configured, list | tuple) else [configured]
    known = [*ids, tokenizer.eos_token_id, turn_end(tokenizer)]
    return frozenset(int(i) for i in known if i is not None and i >= 0)


def turn_end(tokenizer: Any) -> int | None:
    """The control token that the chat template writes behind a reply, if it writes one.

    Where it writes several, the first special one: others may close a part of the reply. A template that leaves the last
    reply open is asked what it writes between a reply and the next turn.
    """
    if not tokenizer.chat_template:
        return None
    control = control_tokens(tokenizer)
    template = Template(tokenizer, control.values())
    for roles in (("user", "assistant"), ("user", "assistant", "user")):
        behind = _behind_reply(template, roles)
        found = list(_leading(behind, control))
        special = [token for token in found if tokenizer.added_tokens_decoder[token].special]
        if found:
            return (special or found)[0]
    return None


def _behind_reply(template: Template, roles: tuple[str, ...]) -> str:
    texts = [REPLY if role == "assistant" else "Hello." for role in roles]
    for parts in (False, True):
        try:
            _, reply, behind = template.of_turns(roles, texts, parts).rpartition(REPLY)
        except RefusedError:
            continue
        if reply:
            return behind
    return ""


def _leading(text: str, control: dict[int, str]) -> Iterable[int]:
    """The control tokens that `text` begins with, blanks between them left out."""
    while text := text.lstrip():
        spelled = [(len(spelling), token) for token, spelling in control.items() if text.startswith(spelling)]
        if not spelled:
            return
        length, token = max(spelled)
        yield token
        text = text[length:]
