"""From a request to token ids, with user text that can never become a control token.

The chat template is rendered once around placeholders. What the template wrote is encoded with control tokens; what a
person wrote is encoded as ordinary text: every literal spelling of an added token in it ("<|im_end|>") is cut after its
first character, so the tokenizer cannot match it. For text without such spellings the ids are those of
`apply_chat_template`, except where a message begins or ends with a blank that the tokenizer would have merged with the
template's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from models.errors import ModelError

_PLACEHOLDERS = {"system": "\ue000S\ue001", "user": "\ue000U\ue001"}


def encode_chat(tokenizer: Any, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
    """Token ids of one user turn and the opening of the reply, `prefill` being the reply's first words.

    A model without a chat template completes plain text: system, prompt and prefill, separated by blank lines.
    """
    if not tokenizer.chat_template:
        return _encode_plain(tokenizer, [part for part in (system, prompt, prefill) if part])
    messages = [{"role": "user", "content": _PLACEHOLDERS["user"]}]
    if system:
        messages.insert(0, {"role": "system", "content": _PLACEHOLDERS["system"]})
    rendered = _render(tokenizer, messages)
    texts = {_PLACEHOLDERS["system"]: system or "", _PLACEHOLDERS["user"]: prompt}
    ids: list[int] = []
    for piece in re.split("(" + "|".join(texts) + ")", rendered):
        if piece in texts:
            ids += encode_text(tokenizer, texts[piece])
        elif piece:
            ids += tokenizer.encode(piece, add_special_tokens=False)
    return ids + (encode_text(tokenizer, prefill) if prefill else [])


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """`text` as ordinary tokens only: none of the ids is a control token, whatever the text spells."""
    ids: list[int] = []
    for piece in _uncontrolled(text, control_tokens(tokenizer)):
        ids += tokenizer.encode(piece, add_special_tokens=False)
    return ids


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """Spelling → id of every added token, special or not, that text could spell (blanks and single characters cannot)."""
    added = tokenizer.added_tokens_decoder
    return {t.content: i for i, t in added.items() if len(t.content) > 1 and not t.content.isspace()}


def _uncontrolled(text: str, control: dict[str, int]) -> list[str]:
    """`text` in pieces, cut after the first character of every control token's spelling."""
    if not text or not control:
        return [text] if text else []
    spelled = re.compile("|".join(re.escape(word) for word in sorted(control, key=len, reverse=True)))
    cuts = sorted({match.start() + 1 for match in re.finditer(f"(?=({spelled.pattern}))", text)})
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if text[a:b]]


def _render(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    try:
        rendered: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is somebody else's program: whatever it raises, say so in one sentence
        raise ModelError(
            f"The model's chat template refused this request ({error}); try it without a system prompt."
        ) from error
    if any(message["content"] not in rendered for message in messages):
        raise ModelError("The model's chat template drops the text of a message; try it without a system prompt.")
    return rendered


def _encode_plain(tokenizer: Any, parts: Sequence[str]) -> list[int]:
    begin = tokenizer.bos_token_id
    start = [begin] if begin is not None and getattr(tokenizer, "add_bos_token", False) else []
    ids = start + encode_text(tokenizer, "\n\n".join(parts))
    if not ids:
        raise ModelError("`prompt` must not be empty.")
    return ids
