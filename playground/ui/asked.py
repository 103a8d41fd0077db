"""What a request asks of the page, read from its parsed body; what the page itself does not ask is refused in one sentence.

Only what was judged goes on: Gradio gets a body made of it, without the further fields that its routes would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.ui.contents import BodyError
from playground.ui.inputs import misfit

LONGEST_SESSION = 64
NO_SESSION = f"`session_hash` must be text of 1 to {LONGEST_SESSION} letters, digits, `-` and `_`."
UNKNOWN = "This page has nothing that this request asks for; reload the page."
TOO_FEW = "A request must hold a value for every field that it is about; reload the page."

Message = dict[str, Any]


def session_of(given: Any) -> str:
    """The name of a visitor's page. Raises BodyError for what Gradio could not use as one."""
    plain = isinstance(given, str) and given.isascii() and given.replace("-", "").replace("_", "").isalnum()
    if not plain or len(given) > LONGEST_SESSION:
        raise BodyError(400, NO_SESSION)
    return str(given)


def event(body: Message, events: Mapping[int, Any]) -> Message:
    """What to pass on of a request for an event. Raises BodyError."""
    session, number, data = session_of(body.get("session_hash")), body.get("fn_index"), body.get("data")
    asked = events.get(number) if _whole(number) else None  # type: ignore[arg-type]
    if asked is None or asked.fn is None:
        raise BodyError(400, UNKNOWN)
    if not isinstance(data, list) or len(data) < len(asked.inputs):
        raise BodyError(400, TOO_FEW)
    data = data[: len(asked.inputs)]
    for field, value in zip(asked.inputs, data, strict=True):
        if (sentence := misfit(field, value)) is not None:
            raise BodyError(400, sentence)
    trigger = body.get("trigger_id")
    return {
        "fn_index": number,
        "data": data,
        "session_hash": session,
        "trigger_id": trigger if _whole(trigger) else None,
    }


def call(body: Message, blocks: Mapping[int, Any]) -> Message:
    """What to pass on of a call of a component's function on the server. Raises BodyError."""
    session, number, name = session_of(body.get("session_hash")), body.get("component_id"), body.get("fn_name")
    block = blocks.get(number) if _whole(number) else None  # type: ignore[arg-type]
    if not isinstance(name, str) or not getattr(getattr(block, name, None), "_is_server_fn", False):
        raise BodyError(400, UNKNOWN)
    return {"session_hash": session, "component_id": number, "fn_name": name, "data": body.get("data")}


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**31
