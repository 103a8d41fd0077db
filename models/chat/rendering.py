"""What a model's chat template makes of a request, and one true sentence where it makes nothing of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from models.chat import budget, standins
from models.chat.standins import StandIns
from models.errors import ModelError

MOST_LINES = 1_000_000
MOST_AROUND = 200_000  # characters that a template may write around the texts it is given
LONGEST_REASON = 160
SPELLED_OUT = re.compile(r"""['"]type['"]: ?['"]text['"]""")  # a list of parts, written down as it is


@dataclass(frozen=True)
class Rendered:
    """A text to encode, with a byte for each of its characters: 1 where it is known that a person wrote it.

    `frame` is the same text with other characters in those places: what is read in it as control tokens is the template's.
    """

    text: str
    typed: bytes
    frame: str

    def followed_by(self, text: str) -> Rendered:
        """With `text` behind it, which a person wrote."""
        made = standins.for_everything([text])
        return Rendered(self.text + text, self.typed + made.typed(made.texts[0]), self.frame + made.texts[0])


class RefusedError(Exception):
    """A template did not render; `words` say why, and whether it is the request that it refuses."""

    def __init__(self, words: str, of_request: bool = False) -> None:
        super().__init__(words)
        self.words, self.of_request = words, of_request


class Template:
    """The chat template of a tokenizer. `spellings` are those of its control tokens."""

    def __init__(self, tokenizer: Any, spellings: Iterable[str]) -> None:
        self.tokenizer, self.spellings = tokenizer, tuple(spellings)

    def of_request(self, prompt: str, system: str | None) -> Rendered:
        """The request as the template writes it, up to where the reply begins. Raises ModelError."""
        self._check_names()
        roles = ("system", "user") if system else ("user",)
        texts = (system, prompt) if system else (prompt,)
        try:
            return self._in_some_form(roles, [text or "" for text in texts])
        except RefusedError as refusal:
            raise ModelError(self._sentence(refusal, prompt, system)) from refusal

    def of_turns(self, roles: Sequence[str], texts: Sequence[str], parts: bool = False) -> str:
        """Whole turns, with no reply begun. Raises RefusedError."""
        return self._render(roles, texts, parts, begin=False)

    def _in_some_form(self, roles: Sequence[str], texts: Sequence[str]) -> Rendered:
        """With contents as text, or as lists of parts, which templates of models that see images may need.

        A template that writes down such a list itself knows of no parts: what it said of the text holds.
        """
        try:
            return self._rendered(roles, texts, parts=False)
        except RefusedError as refusal:
            try:
                made = self._rendered(roles, texts, parts=True)
            except RefusedError:
                raise refusal from None
            if SPELLED_OUT.search(made.frame):
                raise refusal
            return made

    def _rendered(self, roles: Sequence[str], texts: Sequence[str], parts: bool) -> Rendered:
        text = self._render(roles, texts, parts)
        spelled = standins.for_spellings(texts, self.spellings)
        for made in (standins.for_everything(texts), standins.for_marks(texts, self.spellings)):
            frame = self._frame(roles, made, parts)
            for number in made.missing(frame) if frame is not None else ():
                self._check_seen(roles, texts, parts, number, text)
            if frame is not None and made.restored(frame) == text:
                return Rendered(text, made.typed(frame), frame)
        # a template that looks at the words sees them all, but not the control tokens that a person spelled
        frame = self._render(roles, spelled.texts, parts)
        return Rendered(spelled.restored(frame), spelled.typed(frame), frame)

    def _frame(self, roles: Sequence[str], made: StandIns, parts: bool) -> str | None:
        """With stand-ins, or None where the template refuses these."""
        try:
            return self._render(roles, made.texts, parts)
        except RefusedError:
            return None

    def _check_seen(self, roles: Sequence[str], texts: Sequence[str], parts: bool, number: int, text: str) -> None:
        """Raises RefusedError where a message makes no difference to what the template writes."""
        if self._frame(roles, standins.for_one(texts, number), parts) == text:
            raise RefusedError("it leaves out the " + ("system prompt" if roles[number] == "system" else "prompt"))

    def _render(self, roles: Sequence[str], texts: Sequence[str], parts: bool, begin: bool = True) -> str:
        contents = [[{"type": "text", "text": text}] if parts else text for text in texts]
        messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        try:
            with budget.lines(MOST_LINES):
                rendered: str = self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=begin
                )
        except budget.EndlessError as error:
            raise RefusedError("it runs on and on") from error
        except TemplateSyntaxError as error:
            raise RefusedError(f"it is no valid Jinja (line {error.lineno}: {_short(error)})") from error
        except Exception as error:  # a template is somebody else's program: it may raise whatever it likes
            if type(error) is TemplateError:
                raise RefusedError(f"it says: {_short(error)}", of_request=True) from error
            raise RefusedError(f"it fails{_line(error)}: {_short(error)}") from error
        if len(rendered) > MOST_AROUND + 8 * sum(map(len, texts)):
            raise RefusedError(f"it makes {len(rendered):,} characters of it")
        try:
            rendered.encode()
        except UnicodeEncodeError as error:
            raise RefusedError("it writes halves of characters, which are no text") from error
        return rendered

    def _check_names(self) -> None:
        named = self.tokenizer.chat_template
        if isinstance(named, dict) and "default" not in named:
            raise ModelError(
                f"The model has several chat templates ({', '.join(sorted(named))}) and none of them is named default; "
                f"name the one to use default in the model's files."
            )

    def _sentence(self, refusal: RefusedError, prompt: str, system: str | None) -> str:
        if system and self._takes(prompt):
            return (
                f"The model's chat template takes no system prompt ({refusal.words}); leave the system prompt empty, or "
                f"write it into the prompt."
            )
        if refusal.of_request:
            return f"The model's chat template refuses this request ({refusal.words}); change the request, or choose another model."
        return f"The model's chat template cannot be used: {refusal.words}; mend it in the model's files, or choose another model."

    def _takes(self, prompt: str) -> bool:
        """Whether it takes this prompt alone."""
        try:
            self._in_some_form(["user"], [prompt])
        except RefusedError:
            return False
        return True


def _line(error: Exception) -> str:
    """The template's line that an error came from."""
    stack = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in stack if frame.filename == budget.COMPILED]
    return f" in line {lines[-1]}" if lines else ""


def _short(error: Exception) -> str:
    said = "".join(c if c.isprintable() else " " for c in str(error))
    words = " ".join(said.split()).rstrip(".") or type(error).__name__
    return words if len(words) <= LONGEST_REASON else words[: LONGEST_REASON - 1] + "…"
