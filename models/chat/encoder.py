"""From a request to token ids, with user text that can never become a control token."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from models.chat.control import control_tokens
from models.chat.disguise import Disguise
from models.chat.rendering import Rendered, Template
from models.errors import ModelError

REFUSAL = (
    "The request spells a control token of the model, which this tokenizer cannot read as text; take the token out, or "
    "choose another model."
)


class Found(NamedTuple):
    """A control token, and the characters that it was read from."""

    token: int
    start: int
    end: int


class Encoder:
    """Encodes for one tokenizer. For texts that spell no control token the ids are those that `apply_chat_template` gives,
    or, without a template, those that the tokenizer gives for plain text but for what it puts at the end."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @functools.cached_property
    def control(self) -> dict[int, str]:
        return control_tokens(self.tokenizer)

    def encode_chat(self, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
        """Token ids of one user turn and the opening of the reply, `prefill` being the reply's first words.

        Blanks at the end of `prefill` are left to the reply: they belong to the token of its next word. A model without
        a chat template completes plain text: system, prompt and prefill, separated by blank lines.
        """
        begun = prefill.rstrip(" ")
        if not self.tokenizer.chat_template:
            return self._encode_plain("\n\n".join(part for part in (system, prompt, begun) if part))
        rendered = Template(self.tokenizer, self.control.values()).of_request(prompt, system)
        ids = self._begun(self._encode(rendered.followed_by(begun)))
        if not ids:
            raise ModelError("The model's chat template makes an empty text of this request; choose another model.")
        return ids

    def _begun(self, ids: list[int]) -> list[int]:
        """These ids behind the token that begins every text, where the tokenizer says that chats too need one."""
        begin = self.tokenizer.bos_token_id if getattr(self.tokenizer, "begins_chats", False) else None
        return ids if begin is None or not ids or ids[0] == begin else [begin, *ids]

    def encode_text(self, text: str) -> list[int]:
        """`text` as ordinary tokens only: none of the ids is a control token, whatever the text spells."""
        return self._encode(Rendered("", b"", "").followed_by(text))

    def _encode_plain(self, text: str) -> list[int]:
        ids = [*self._before_text, *self.encode_text(text)]
        if not ids:
            raise ModelError("`prompt` must not be empty.")
        return ids

    @functools.cached_property
    def _before_text(self) -> list[int]:
        """What the tokenizer puts before a plain text, such as a token that begins it."""
        alone, whole = self.tokenizer.encode("a", add_special_tokens=False), self.tokenizer.encode("a")
        counts = range(len(whole) - len(alone) + 1)
        return next((whole[:count] for count in counts if whole[count : count + len(alone)] == alone), [])

    def _encode(self, rendered: Rendered) -> list[int]:
        if not rendered.text:
            return []
        with _in_one_sentence():
            if not self.tokenizer.is_fast:
                return self._encode_slowly(rendered)
            ids, found = self._read(rendered.text)
            if not any(any(rendered.typed[place.start : place.end]) for place in found):
                return ids
            return self._encode_disguised(rendered)

    def _read(self, text: str) -> tuple[list[int], list[Found]]:
        """The ids that the tokenizer gives, and where it found control tokens."""
        read = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(read["input_ids"])
        places = zip(ids, read["offset_mapping"], strict=True)
        found = [Found(token, *place) for token, place in places if token in self.control]
        unknown = self.tokenizer.unk_token_id  # stands for characters that a vocabulary lacks, too
        return ids, [f for f in found if f.token != unknown or self.control[unknown] in text[f.start : f.end]]

    def _encode_disguised(self, rendered: Rendered) -> list[int]:
        """With the template's control tokens alone, which are those that are found where other characters stand for the typed ones."""
        _, own = self._read(rendered.frame)
        text = rendered.text
        for place in reversed(own):
            spelling = self.control[place.token]
            start = text.find(spelling, place.start, place.end)
            if start >= 0:
                text = text[:start] + self._disguise.spell(spelling) + text[start + len(spelling) :]
        ids = self._disguise.encode(text)
        if [i for i in ids if self._directs(i)] != [place.token for place in own if self._directs(place.token)]:
            raise ModelError(REFUSAL)
        return ids

    def _directs(self, token: int) -> bool:
        return token in self.control and token != self.tokenizer.unk_token_id

    @functools.cached_property
    def _disguise(self) -> Disguise:
        return Disguise(self.tokenizer.backend_tokenizer, self.control)

    def _encode_slowly(self, rendered: Rendered) -> list[int]:
        """For the few tokenizers that cannot say where they found a token: none may be spelled by a person."""
        ids: list[int] = self.tokenizer.encode(rendered.text, add_special_tokens=False)
        own = self.tokenizer.encode(rendered.frame, add_special_tokens=False)
        if [i for i in ids if self._directs(i)] != [i for i in own if self._directs(i)]:
            raise ModelError(REFUSAL)
        return ids


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Whatever a tokenizer raises becomes one sentence."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"The model's tokenizer cannot read this request ({reason}); choose another model.") from error
