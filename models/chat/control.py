"""Which of a tokenizer's added tokens are control tokens, which no text may become."""

from __future__ import annotations

import re
from typing import Any

MARKS = re.compile(r"[<>\[\]{}|｜]")
HTML = re.compile(
    r"</?(table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code|pre|ul|ol|li|p|div|br)>"
)


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """Id → spelling of every added token that directs a model: the special ones, those that the chat template writes,
    and those that look like a mark.

    Others are text: runs of blanks, words that a vocabulary was enlarged by, the tags of HTML.
    """
    template = str(tokenizer.chat_template or "")
    return {
        token: entry.content
        for token, entry in tokenizer.added_tokens_decoder.items()
        if not entry.content.isspace() and (entry.special or _directs(entry.content, template))
    }


def _directs(spelling: str, template: str) -> bool:
    if len(spelling) == 1 or HTML.fullmatch(spelling):
        return False
    return spelling in template or MARKS.search(spelling) is not None
